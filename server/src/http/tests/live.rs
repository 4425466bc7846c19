//! The live socket, with a real websocket client and a real PostgreSQL telling.

use super::{Fixture, Who, fixture::OURS, matrix::Pass};
use crate::http;
use app::live::{ToBrowser, ToServer, Topic};
use futures::{SinkExt, StreamExt};
use odooops::{
    branch::{Board, Stage},
    log::LogLine,
};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
    time::Duration,
};
use tokio::{net::TcpListener, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as WsError, Message, client::IntoClientRequest},
};

/// Ten times what it should take, and more: a test waits for the event.
const SOON: Duration = Duration::from_secs(20);

struct Page(WebSocketStream<MaybeTlsStream<TcpStream>>);

enum Got {
    Message(Box<ToBrowser>),
    Closed(u16),
}

impl Page {
    async fn say(&mut self, message: &ToServer) {
        self.0.send(Message::text(serde_json::to_string(message).unwrap())).await.unwrap();
    }

    async fn subscribe(&mut self, topic: Topic, after: Option<i64>) {
        self.say(&ToServer::Subscribe { topic, after }).await;
    }

    async fn got(&mut self) -> Got {
        loop {
            match timeout(SOON, self.0.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => {
                    return Got::Message(Box::new(serde_json::from_str(&text).unwrap()));
                }
                Some(Ok(Message::Close(frame))) => return Got::Closed(frame.map_or(0, |f| f.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Got::Closed(0),
            }
        }
    }

    async fn next(&mut self) -> ToBrowser {
        match self.got().await {
            Got::Message(message) => *message,
            Got::Closed(code) => panic!("closed with {code}"),
        }
    }

    /// The next message, which is news of this topic.
    async fn news<T: DeserializeOwned>(&mut self, of: Topic) -> T {
        match self.next().await {
            ToBrowser::News { topic, content, .. } if topic == of => {
                serde_json::from_str(content.get()).unwrap()
            }
            message => panic!("{message:?}"),
        }
    }

    /// Of what the next message is, which is news of one of these.
    async fn told(&mut self, allowed: &HashSet<Topic>) -> Topic {
        match self.next().await {
            ToBrowser::News { topic, .. } if allowed.contains(&topic) => topic,
            message => panic!("{message:?}"),
        }
    }

    async fn closed(&mut self) -> u16 {
        loop {
            if let Got::Closed(code) = self.got().await {
                return code;
            }
        }
    }
}

struct Live {
    f: Fixture,
    address: SocketAddr,
}

impl Live {
    async fn new() -> Self {
        Self::of(Fixture::new().await).await
    }

    async fn of(f: Fixture) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = http::console(&f.web).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let web = f.web.clone();
        let mut heard = web.live.changes();
        tokio::spawn(async move { web.live.listen(&web.pool, &web.ending).await });
        timeout(SOON, heard.recv()).await.expect("the listener connects").unwrap();
        Self { f, address }
    }

    async fn open(&self, pairs: &[(&'static str, String)]) -> Result<Page, u16> {
        let mut request = format!("ws://{}/live", self.address).into_client_request().unwrap();
        for (name, value) in pairs {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Page(socket)),
            Err(WsError::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn page(&self, who: Who) -> Page {
        let pairs = [("cookie", self.f.cookie(who)), ("origin", OURS.to_owned())];
        let mut page = self.open(&pairs).await.unwrap();
        let ToBrowser::Hello { build } = page.next().await else { panic!("no hello") };
        assert_eq!(build, "build-1");
        page
    }
}

/// PostgreSQL is silent while nobody watches. Who opens a page is told all the same.
#[tokio::test]
async fn a_console_asks_to_be_told_when_somebody_begins_to_watch() {
    let f = Fixture::new().await;
    sqlx::query!("select setval('ops.console_listens_until', 1)").fetch_one(&f.db.owner).await.unwrap();
    let live = Live::of(f).await;
    let f = &live.f;
    let mut page = live.page(Who::Viewer).await;
    page.subscribe(Topic::Board(f.project), None).await;
    page.next().await;
    let until = sqlx::query_scalar!(
        r#"select last_value > extract(epoch from clock_timestamp()) as "asked!" from ops.console_listens_until"#
    );
    assert!(until.fetch_one(&f.db.owner).await.unwrap());
}

#[tokio::test]
async fn threat_04_upgrades_from_elsewhere_or_without_identity_are_refused() {
    let live = Live::new().await;
    let cookie = || ("cookie", live.f.cookie(Who::Owner));
    for bad in ["null", "https://evil.example", "http://demo-feature-x-123456.localhost:3000"] {
        assert_eq!(live.open(&[cookie(), ("origin", bad.to_owned())]).await.err(), Some(403), "{bad}");
    }
    assert_eq!(live.open(&[cookie()]).await.err(), Some(403));
    assert_eq!(live.open(&[("origin", OURS.to_owned())]).await.err(), Some(401));
    let token = format!("Bearer {}", live.f.tokens[&Who::Viewer]);
    assert!(live.open(&[("authorization", token)]).await.is_ok());
    assert_eq!(live.open(&[("authorization", "Bearer ops_x".to_owned()), cookie()]).await.err(), Some(401));
}

/// Each topic, and who may look. A topic that is not here fails the test: serde knows them all.
fn topics(f: &Fixture) -> [(Topic, Pass); 5] {
    [
        (Topic::Board(f.project), Pass::Member),
        (Topic::Run(f.run), Pass::Member),
        (Topic::Log(f.run), Pass::Develops),
        // That the list changed; nothing of it is sent.
        (Topic::Projects, Pass::Known),
        (Topic::Platform, Pass::Platform),
    ]
}

fn name(topic: Topic) -> String {
    let value = serde_json::to_value(topic).unwrap();
    let name = value.as_str().or_else(|| value.as_object()?.keys().next().map(String::as_str));
    name.unwrap().to_owned()
}

#[tokio::test]
async fn threat_03_every_topic_as_everybody() {
    let live = Live::new().await;
    let f = &live.f;
    let unknown = serde_json::from_str::<Topic>("\"?\"").unwrap_err().to_string();
    let known: BTreeSet<_> = unknown.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert_eq!(topics(f).map(|(topic, _)| name(topic)).into_iter().collect::<BTreeSet<_>>(), known);

    let lease = f.start_run().await;
    f.log(lease, &["a line".to_owned()]).await;
    let mut pages = Vec::new();
    for who in Who::KNOWN {
        let mut page = live.page(who).await;
        let mut allowed = HashSet::new();
        for (topic, pass) in topics(f) {
            page.subscribe(topic, None).await;
            let at = format!("{who:?} {topic:?}");
            if pass.lets(who) {
                allowed.insert(topic);
                // The others say nothing until something changes.
                if matches!(topic, Topic::Board(_) | Topic::Run(_) | Topic::Log(_)) {
                    while page.told(&allowed).await != topic {}
                }
                continue;
            }
            let error = loop {
                match page.next().await {
                    ToBrowser::Denied { topic: denied, error } if denied == topic => break error,
                    ToBrowser::News { topic, .. } if allowed.contains(&topic) => {}
                    message => panic!("{at}: {message:?}"),
                }
            };
            assert_eq!(error.status(), pass.refusal(who), "{at}");
        }
        pages.push((who, page, allowed));
    }
    // It touches every one of them. Who may look is told, and of nothing else.
    f.log(lease, &["another".to_owned()]).await;
    f.finish_run(lease, "succeeded").await;
    for (who, page, allowed) in &mut pages {
        let mut missing = allowed.clone();
        while !missing.is_empty() {
            missing.remove(&page.told(allowed).await);
        }
        assert!(allowed.contains(&Topic::Projects), "{who:?}");
    }
}

#[tokio::test]
async fn a_change_reaches_every_page_that_shows_it() {
    let live = Live::new().await;
    let f = &live.f;
    let (mut one, mut two) = (live.page(Who::Viewer).await, live.page(Who::Owner).await);
    for page in [&mut one, &mut two] {
        page.subscribe(Topic::Board(f.project), None).await;
        let board: Board = page.news(Topic::Board(f.project)).await;
        assert_eq!(board.branches.len(), 2);
    }
    let mut conn = f.superuser().await;
    sqlx::query!("update ops.branches set stage = 'staging' where id = $1", f.feature.0)
        .execute(&mut conn)
        .await
        .unwrap();
    for page in [&mut one, &mut two] {
        let board: Board = page.news(Topic::Board(f.project)).await;
        let feature = board.branches.iter().find(|card| card.id == f.feature).unwrap();
        assert_eq!(feature.stage, Stage::Staging);
    }
}

#[tokio::test]
async fn a_log_is_complete_and_in_order_across_reconnects() {
    let live = Live::new().await;
    let f = &live.f;
    let lease = f.start_run().await;
    const ALL: i64 = 20_000;
    let write = async {
        for batch in 0..ALL / 500 {
            let lines: Vec<_> = (1..=500).map(|n| format!("line {}", batch * 500 + n)).collect();
            f.log(lease, &lines).await;
        }
    };
    let read = async {
        let mut seen = 0;
        for leave_at in [ALL / 4, ALL / 2, ALL * 3 / 4, ALL] {
            let mut page = live.page(Who::Developer).await;
            page.subscribe(Topic::Log(f.run), Some(seen)).await;
            while seen < leave_at {
                let lines: Vec<LogLine> = page.news(Topic::Log(f.run)).await;
                assert!(lines.len() <= 1000);
                for line in lines {
                    seen += 1;
                    assert_eq!((line.seq, line.message), (seen, format!("line {seen}")));
                }
            }
        }
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn a_page_of_a_log_is_bounded_in_bytes() {
    let live = Live::new().await;
    let f = &live.f;
    let lease = f.start_run().await;
    let lines: Vec<_> = (0..12).map(|n| char::from(b'a' + n).to_string().repeat(100_000)).collect();
    f.log(lease, &lines).await;
    f.log(lease, &["x".repeat(1 << 20)]).await;
    let mut page = live.page(Who::Developer).await;
    page.subscribe(Topic::Log(f.run), None).await;
    let mut seen = 0;
    while seen < 13 {
        let lines: Vec<LogLine> = page.news(Topic::Log(f.run)).await;
        let bytes: usize = lines.iter().map(|line| line.message.len()).sum();
        assert!(lines.len() == 1 || bytes <= 256 * 1024, "{bytes}");
        seen += lines.len();
    }
}

#[tokio::test]
async fn threat_03_a_revoked_right_ends_the_socket_within_five_seconds() {
    let live = Live::new().await;
    let f = &live.f;
    let mut page = live.page(Who::Viewer).await;
    page.subscribe(Topic::Board(f.project), None).await;
    page.next().await;
    let mut conn = f.superuser().await;
    let user = f.users[&Who::Viewer].0;
    sqlx::query!("delete from ops.project_memberships where user_id = $1", user)
        .execute(&mut conn)
        .await
        .unwrap();
    let ToBrowser::Denied { topic, .. } = page.next().await else { panic!() };
    assert_eq!(topic, Topic::Board(f.project));
    assert_eq!(page.closed().await, 4403);
}

#[tokio::test]
async fn threat_03_the_end_of_a_session_ends_its_sockets() {
    let live = Live::new().await;
    let f = &live.f;
    let mut page = live.page(Who::Viewer).await;
    let mut conn = f.superuser().await;
    let user = f.users[&Who::Viewer].0;
    sqlx::query!("delete from ops.sessions where user_id = $1", user).execute(&mut conn).await.unwrap();
    assert_eq!(page.closed().await, 4401);
}

#[tokio::test]
async fn changes_during_a_lost_listener_are_read_when_it_is_back() {
    let live = Live::new().await;
    let f = &live.f;
    let mut page = live.page(Who::Viewer).await;
    page.subscribe(Topic::Board(f.project), None).await;
    page.next().await;
    // In one statement for everybody else: no listener hears the change.
    let mut conn = f.superuser().await;
    let listeners = sqlx::query_scalar!(
        r#"select pg_terminate_backend(pid) as "done!" from pg_stat_activity
           where datname = current_database() and usename = 'ops_web' and query ilike 'listen%'"#
    );
    let ended = listeners.fetch_all(&mut conn).await.unwrap();
    assert_eq!(ended, [true]);
    sqlx::query!("update ops.branches set stage = 'staging' where id = $1", f.feature.0)
        .execute(&mut conn)
        .await
        .unwrap();
    loop {
        let board: Board = page.news(Topic::Board(f.project)).await;
        if board.branches.iter().any(|card| card.stage == Stage::Staging) {
            return;
        }
    }
}

#[tokio::test]
async fn threat_17_a_page_that_reads_nothing_slows_nobody() {
    let live = Live::new().await;
    let f = &live.f;
    let lease = f.start_run().await;
    // Subscribed to more than fits in any socket buffer, and never read.
    let mut stuck = live.page(Who::Developer).await;
    stuck.subscribe(Topic::Log(f.run), None).await;
    let line = "x".repeat(50_000);
    let mut page = live.page(Who::Tester).await;
    page.subscribe(Topic::Log(f.run), None).await;
    let mut seen = 0;
    for batch in 1..=20 {
        f.log(lease, &vec![line.clone(); 20]).await;
        while seen < batch * 20 {
            let lines: Vec<LogLine> = page.news(Topic::Log(f.run)).await;
            seen += lines.len();
        }
    }
    drop(stuck);
}

#[tokio::test]
async fn threat_17_what_is_not_our_protocol_ends_the_socket() {
    let live = Live::new().await;
    let mut page = live.page(Who::Viewer).await;
    page.0.send(Message::text("{\"else\":{}}")).await.unwrap();
    assert_eq!(page.closed().await, 1008);
    let mut page = live.page(Who::Viewer).await;
    for _ in 0..200 {
        if page.0.send(Message::text("{\"unsubscribe\":{\"topic\":\"projects\"}}")).await.is_err() {
            break;
        }
    }
    assert!(matches!(page.closed().await, 1008 | 0));
    let mut page = live.page(Who::Viewer).await;
    page.0.send(Message::text(" ".repeat(10_000))).await.unwrap();
    page.closed().await;
}

#[tokio::test]
async fn threat_17_sockets_are_counted_and_places_given_back() {
    let live = Live::new().await;
    let mut pages = Vec::new();
    for _ in 0..32 {
        pages.push(live.page(Who::Viewer).await);
    }
    let again = [("cookie", live.f.cookie(Who::Viewer)), ("origin", OURS.to_owned())];
    assert_eq!(live.open(&again).await.err(), Some(429));
    live.page(Who::Owner).await;
    drop(pages);
    // The server notices each browser that left; the first place that is free will do.
    let begun = std::time::Instant::now();
    while live.open(&again).await.is_err() {
        assert!(begun.elapsed() < SOON);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_ending_server_tells_its_pages_to_come_back() {
    let live = Live::new().await;
    let mut page = live.page(Who::Viewer).await;
    live.f.web.ending.cancel();
    assert_eq!(page.closed().await, 1001);
}
