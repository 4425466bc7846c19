//! The browser's end of `/live`.
//!
//! The socket is opened by the first subscription and kept. When it breaks, it is opened again after a pause that
//! grows, at once when the network or the tab comes back; every subscription is then made again from the last
//! sequence seen. On the server all of this does nothing: pages come complete.
//!
//! The socket belongs to the page's one thread, so it is kept there and not among the reactive values: the server
//! drops those on whatever thread ends a request.

use super::{ToBrowser, ToServer, Topic};
use crate::session::me;
use leptos::{leptos_dom::helpers::TimeoutHandle, prelude::*, task::spawn_local};
use serde::de::DeserializeOwned;
use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{CloseEvent, MessageEvent, WebSocket};

/// How the connection is doing, as the top bar shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Nothing on this page is live.
    Idle,
    Connecting,
    Online,
    Offline,
    /// The session ended: signing in helps, asking again does not.
    SignedOut,
    /// The server does not understand us.
    Refused,
}

/// Codes with which the server closes a socket for good.
const SIGNED_OUT: u16 = 4401;
const REFUSED: u16 = 1008;
/// Attempts that fail before we wonder whether the session is the reason.
const ASK_WHO_AFTER: u32 = 2;

/// Takes the text of the content.
type Handler = Rc<dyn Fn(&str)>;

struct Subscription {
    /// Last log sequence seen.
    after: Option<i64>,
    handlers: Vec<(u64, Handler)>,
    /// The server said no: it is not asked again.
    denied: bool,
}

#[derive(Default)]
struct Inner {
    socket: Option<WebSocket>,
    topics: HashMap<Topic, Subscription>,
    next_handler: u64,
    failures: u32,
    retry: Option<TimeoutHandle>,
}

thread_local! {
    static PAGE: RefCell<Inner> = RefCell::new(Inner::default());
}

/// Changes what the page keeps. Never while a handler runs: those subscribe and unsubscribe.
fn page<T>(change: impl FnOnce(&mut Inner) -> T) -> T {
    PAGE.with_borrow_mut(change)
}

/// Found by `Live::get()` anywhere below the app.
#[derive(Clone, Copy)]
pub struct Live {
    link: RwSignal<Link>,
    /// The build that the server said it is.
    server_build: RwSignal<Option<String>>,
    /// What this page shows and may not, or no longer.
    denied: RwSignal<u32>,
}

impl Live {
    const FIRST_PAUSE: f64 = 400.0;
    const LONGEST_PAUSE: f64 = 15_000.0;

    pub fn provide() {
        let live = Self {
            link: RwSignal::new(Link::Idle),
            server_build: RwSignal::new(None),
            denied: RwSignal::new(0),
        };
        provide_context(live);
        Effect::new(move |_| {
            let now = move || live.reconnect_now();
            let online = window_event_listener_untyped("online", move |_| now());
            let shown = window_event_listener_untyped("visibilitychange", move |_| {
                if !document().hidden() {
                    now();
                }
            });
            on_cleanup(move || {
                online.remove();
                shown.remove();
            });
        });
    }

    pub fn get() -> Self {
        expect_context()
    }

    pub fn link(self) -> Link {
        self.link.get()
    }

    /// Whether something on this page is no longer kept current, and will not be.
    pub fn is_denied(self) -> bool {
        self.denied.get() > 0
    }

    pub fn server_build(self) -> Option<String> {
        self.server_build.get()
    }

    /// Calls `handler` with all news of the topic until the current owner is gone. `after` is the last log
    /// sequence that the page has already. Call it in an effect: the server has no socket.
    pub fn subscribe<T: DeserializeOwned>(
        self,
        topic: Topic,
        after: Option<i64>,
        handler: impl Fn(T) + 'static,
    ) {
        self.add(
            topic,
            after,
            Rc::new(move |content| {
                // A newer server may say what this page does not know; the build tells that it is old.
                if let Ok(content) = serde_json::from_str(content) {
                    handler(content);
                }
            }),
        );
    }

    fn add(self, topic: Topic, after: Option<i64>, handler: Handler) {
        let id = page(|inner| {
            let id = inner.next_handler;
            inner.next_handler += 1;
            let subscription = inner.topics.entry(topic).or_insert_with(|| Subscription {
                after,
                handlers: Vec::new(),
                denied: false,
            });
            subscription.handlers.push((id, handler));
            id
        });
        if self.is_open() {
            self.send(&ToServer::Subscribe { topic, after });
        } else {
            self.open();
        }
        on_cleanup(move || self.unsubscribe(topic, id));
    }

    fn unsubscribe(self, topic: Topic, id: u64) {
        let gone = page(|inner| {
            let subscription = inner.topics.get_mut(&topic)?;
            subscription.handlers.retain(|(handler, _)| *handler != id);
            if subscription.handlers.is_empty() { inner.topics.remove(&topic) } else { None }
        });
        match gone {
            Some(subscription) if subscription.denied => self.denied.update(|denied| *denied -= 1),
            Some(_) if self.is_open() => self.send(&ToServer::Unsubscribe { topic }),
            _ => {}
        }
    }

    fn is_open(self) -> bool {
        self.socket().is_some_and(|socket| socket.ready_state() == WebSocket::OPEN)
    }

    fn socket(self) -> Option<WebSocket> {
        page(|inner| inner.socket.clone())
    }

    fn send(self, message: &ToServer) {
        if let (Some(socket), Ok(text)) = (self.socket(), serde_json::to_string(message)) {
            // A socket that is closing loses the message; the subscription is made again by the next one.
            let _ = socket.send_with_str(&text);
        }
    }

    fn open(self) {
        if self.socket().is_some() || self.link.get_untracked() == Link::SignedOut {
            return;
        }
        page(|inner| inner.retry = None);
        let location = window().location();
        let (Ok(protocol), Ok(host)) = (location.protocol(), location.host()) else { return };
        let scheme = if protocol == "https:" { "wss" } else { "ws" };
        let Ok(socket) = WebSocket::new(&format!("{scheme}://{host}/live")) else { return };
        if self.link.get_untracked() != Link::Offline {
            self.link.set(Link::Connecting);
        }
        let on_open = Closure::<dyn FnMut()>::new(move || self.subscribe_all());
        socket.set_onopen(Some(on_open.into_js_value().unchecked_ref()));
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some(text) = event.data().as_string() {
                self.receive(&text);
            }
        });
        socket.set_onmessage(Some(on_message.into_js_value().unchecked_ref()));
        let on_close =
            Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| self.closed(event.code()));
        socket.set_onclose(Some(on_close.into_js_value().unchecked_ref()));
        page(|inner| inner.socket = Some(socket));
    }

    fn subscribe_all(self) {
        let topics = page(|inner| {
            let asked = inner.topics.iter().filter(|(_, subscription)| !subscription.denied);
            asked.map(|(topic, subscription)| (*topic, subscription.after)).collect::<Vec<_>>()
        });
        for (topic, after) in topics {
            self.send(&ToServer::Subscribe { topic, after });
        }
    }

    fn receive(self, text: &str) {
        match serde_json::from_str::<ToBrowser>(text) {
            Ok(ToBrowser::Hello { build }) => self.greeted(build),
            Ok(ToBrowser::News { topic, last_seq, content }) => self.told(topic, last_seq, content.get()),
            Ok(ToBrowser::Denied { topic, .. }) => {
                let is_news = page(|inner| {
                    let subscription = inner.topics.get_mut(&topic)?;
                    (!std::mem::replace(&mut subscription.denied, true)).then_some(())
                });
                if is_news.is_some() {
                    self.denied.update(|denied| *denied += 1);
                }
            }
            // A newer server, as above.
            Err(_) => {}
        }
    }

    fn greeted(self, build: String) {
        self.server_build.set(Some(build));
        self.link.set(Link::Online);
        let again = page(|inner| std::mem::take(&mut inner.failures) > 0);
        // Nothing is sent of these at first, so what changed meanwhile would never be told.
        if again {
            self.told(Topic::Projects, None, "null");
            self.told(Topic::Platform, None, "null");
        }
    }

    fn told(self, topic: Topic, last_seq: Option<i64>, content: &str) {
        let handlers = page(|inner| {
            let subscription = inner.topics.get_mut(&topic)?;
            subscription.after = last_seq.or(subscription.after);
            Some(subscription.handlers.iter().map(|(_, handler)| Rc::clone(handler)).collect::<Vec<_>>())
        });
        // Not while the page is held: a handler may subscribe or unsubscribe.
        for handler in handlers.into_iter().flatten() {
            handler(content);
        }
    }

    fn closed(self, code: u16) {
        let again = page(|inner| {
            inner.socket = None;
            inner.failures += 1;
            inner.topics.values().any(|subscription| !subscription.denied).then_some(inner.failures)
        });
        match (code, again) {
            (SIGNED_OUT, _) => self.link.set(Link::SignedOut),
            (REFUSED, _) => self.link.set(Link::Refused),
            (_, Some(failures)) => {
                self.link.set(Link::Offline);
                if failures == ASK_WHO_AFTER {
                    self.ask_who();
                }
                let doubled = Self::FIRST_PAUSE * f64::from(1 << failures.min(6).saturating_sub(1));
                // Not all pages at the same moment after a restart of the server.
                let pause = doubled.min(Self::LONGEST_PAUSE) * (0.5 + js_sys::Math::random() / 2.0);
                let retry =
                    set_timeout_with_handle(move || self.open(), Duration::from_millis(pause as u64)).ok();
                page(|inner| inner.retry = retry);
            }
            (_, None) => self.link.set(Link::Idle),
        }
    }

    /// A socket that is refused for want of a session looks like a server that is away.
    fn ask_who(self) {
        spawn_local(async move {
            if let Ok(None) = me().await {
                if let Some(retry) = page(|inner| inner.retry.take()) {
                    retry.clear();
                }
                self.link.set(Link::SignedOut);
            }
        });
    }

    fn reconnect_now(self) {
        let waiting = page(|inner| {
            let waiting = inner.socket.is_none() && inner.retry.is_some() && !inner.topics.is_empty();
            if waiting && let Some(retry) = inner.retry.take() {
                retry.clear();
            }
            waiting
        });
        if waiting {
            self.open();
        }
    }
}
