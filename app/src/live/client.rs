//! The browser's side of `/live`: one socket per page, opened with the first subscription.
//!
//! After any break it connects again and subscribes to everything once more, each log from the last sequence that
//! was seen, so that pages need not know of it.

use super::{ToBrowser, Topic};
use leptos::prelude::*;

/// What the page can say about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveStatus {
    /// Nothing to follow, or no script yet.
    Idle,
    Connecting,
    Live,
    /// Broken off; it is tried again.
    Reconnecting,
}

#[derive(Clone, Copy)]
pub struct Live {
    status: RwSignal<LiveStatus>,
    /// The server was replaced by another build: the page should be loaded again.
    outdated: RwSignal<bool>,
    #[cfg(feature = "hydrate")]
    socket: StoredValue<socket::Socket, LocalStorage>,
}

/// Makes the page's connection. Called once, by `App`.
pub fn provide_live() -> Live {
    let status = RwSignal::new(LiveStatus::Idle);
    let outdated = RwSignal::new(false);
    let live = Live {
        status,
        outdated,
        #[cfg(feature = "hydrate")]
        socket: StoredValue::new_local(socket::Socket::new(status, outdated)),
    };
    provide_context(live);
    live
}

pub fn use_live() -> Live {
    expect_context::<Live>()
}

impl Live {
    pub fn status(self) -> Signal<LiveStatus> {
        self.status.into()
    }

    pub fn outdated(self) -> Signal<bool> {
        self.outdated.into()
    }

    /// Follows a topic until the calling component is gone. `after` is asked at every (re)connection.
    #[cfg_attr(not(feature = "hydrate"), expect(unused_variables, reason = "the server renders, it follows nothing"))]
    pub fn subscribe(
        self,
        topic: Topic,
        after: impl Fn() -> Option<i64> + 'static,
        on_message: impl Fn(ToBrowser) + 'static,
    ) {
        #[cfg(feature = "hydrate")]
        {
            let socket = self.socket;
            let id = socket.with_value(|socket| socket.subscribe(topic, after, on_message));
            on_cleanup(move || {
                socket.try_with_value(|socket| socket.unsubscribe(id));
            });
        }
    }
}

#[cfg(feature = "hydrate")]
mod socket {
    use super::LiveStatus;
    use crate::live::{ToBrowser, ToServer, Topic};
    use leptos::prelude::*;
    use std::{cell::RefCell, rc::Rc, time::Duration};
    use wasm_bindgen::{JsCast, prelude::Closure};
    use web_sys::{CloseEvent, Event, MessageEvent, WebSocket};

    const FIRST_PAUSE: Duration = Duration::from_millis(250);
    const LONGEST_PAUSE: Duration = Duration::from_secs(10);

    struct Subscription {
        id: usize,
        topic: Topic,
        after: Rc<dyn Fn() -> Option<i64>>,
        on_message: Rc<dyn Fn(ToBrowser)>,
    }

    struct Inner {
        status: RwSignal<LiveStatus>,
        outdated: RwSignal<bool>,
        subscriptions: Vec<Subscription>,
        next_id: usize,
        socket: Option<WebSocket>,
        pause: Duration,
        build: Option<String>,
    }

    #[derive(Clone)]
    pub struct Socket(Rc<RefCell<Inner>>);

    impl Socket {
        pub fn new(status: RwSignal<LiveStatus>, outdated: RwSignal<bool>) -> Self {
            Self(Rc::new(RefCell::new(Inner {
                status,
                outdated,
                subscriptions: Vec::new(),
                next_id: 0,
                socket: None,
                pause: FIRST_PAUSE,
                build: None,
            })))
        }

        pub fn subscribe(
            &self,
            topic: Topic,
            after: impl Fn() -> Option<i64> + 'static,
            on_message: impl Fn(ToBrowser) + 'static,
        ) -> usize {
            let mut inner = self.0.borrow_mut();
            let id = inner.next_id;
            inner.next_id += 1;
            let subscription =
                Subscription { id, topic, after: Rc::new(after), on_message: Rc::new(on_message) };
            if let Some(socket) = inner.open_socket() {
                send(&socket, &ToServer::Subscribe { topic, after: (subscription.after)() });
            }
            inner.subscriptions.push(subscription);
            let connect = inner.socket.is_none();
            drop(inner);
            if connect {
                self.connect();
            }
            id
        }

        pub fn unsubscribe(&self, id: usize) {
            let mut inner = self.0.borrow_mut();
            let Some(at) = inner.subscriptions.iter().position(|s| s.id == id) else { return };
            let topic = inner.subscriptions.remove(at).topic;
            let needed = inner.subscriptions.iter().any(|s| s.topic == topic);
            if let (false, Some(socket)) = (needed, inner.open_socket()) {
                send(&socket, &ToServer::Unsubscribe { topic });
            }
        }

        fn connect(&self) {
            let location = window().location();
            let (Ok(protocol), Ok(host)) = (location.protocol(), location.host()) else { return };
            let scheme = if protocol == "https:" { "wss" } else { "ws" };
            let Ok(socket) = WebSocket::new(&format!("{scheme}://{host}/live")) else { return };
            {
                let mut inner = self.0.borrow_mut();
                if inner.status.get_untracked() == LiveStatus::Idle {
                    inner.status.set(LiveStatus::Connecting);
                }
                inner.socket = Some(socket.clone());
            }
            let this = self.clone();
            let on_open = Closure::<dyn FnMut(Event)>::new(move |_| this.opened());
            let this = self.clone();
            let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
                if let Some(text) = event.data().as_string() {
                    this.received(&text);
                }
            });
            let this = self.clone();
            let on_close = Closure::<dyn FnMut(CloseEvent)>::new(move |_| this.closed());
            socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
            socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
            socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
            // They live as long as the page may get events of this socket.
            on_open.forget();
            on_message.forget();
            on_close.forget();
        }

        fn opened(&self) {
            let mut inner = self.0.borrow_mut();
            inner.pause = FIRST_PAUSE;
            inner.status.set(LiveStatus::Live);
            let Some(socket) = inner.open_socket() else { return };
            let mut told: Vec<Topic> = Vec::new();
            for subscription in &inner.subscriptions {
                if !told.contains(&subscription.topic) {
                    told.push(subscription.topic);
                    let after = (subscription.after)();
                    send(&socket, &ToServer::Subscribe { topic: subscription.topic, after });
                }
            }
        }

        fn received(&self, text: &str) {
            let message = match serde_json::from_str::<ToBrowser>(text) {
                Ok(message) => message,
                // A newer server says what this page does not understand.
                Err(_) => return self.0.borrow().outdated.set(true),
            };
            if let ToBrowser::Hello { build } = &message {
                let mut inner = self.0.borrow_mut();
                if inner.build.get_or_insert_with(|| build.clone()) != build {
                    inner.outdated.set(true);
                }
                return;
            }
            let topic = message.topic();
            // Called without the borrow: a handler may subscribe or unsubscribe.
            let handlers: Vec<_> = {
                let inner = self.0.borrow();
                let matching = inner.subscriptions.iter().filter(|s| Some(s.topic) == topic);
                matching.map(|s| s.on_message.clone()).collect()
            };
            for handler in handlers {
                handler(message.clone());
            }
        }

        fn closed(&self) {
            let pause = {
                let mut inner = self.0.borrow_mut();
                inner.socket = None;
                inner.status.set(LiveStatus::Reconnecting);
                let pause = inner.pause;
                inner.pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            };
            let this = self.clone();
            set_timeout(
                move || {
                    let idle = this.0.borrow().socket.is_none();
                    if idle {
                        this.connect();
                    }
                },
                pause,
            );
        }
    }

    impl Inner {
        fn open_socket(&self) -> Option<WebSocket> {
            self.socket.clone().filter(|socket| socket.ready_state() == WebSocket::OPEN)
        }
    }

    fn send(socket: &WebSocket, message: &ToServer) {
        if let Ok(text) = serde_json::to_string(message) {
            // It fails only on a socket that is closing: the next connection subscribes again.
            let _ = socket.send_with_str(&text);
        }
    }
}
