use super::{
    super::{ClientAddress, Identity, Web, api::Problem},
    socket::Socket,
};
use axum::{
    extract::{State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use odooops::Error;

/// What a browser says is short.
const MOST_BYTES: usize = 4096;

pub async fn upgrade(
    State(web): State<Web>,
    identity: Identity,
    address: ClientAddress,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(place) = web.live.limits().take(identity.me.id, address.0) else {
        let problem = Problem(Error::unavailable("request.too_many_sockets"));
        return (StatusCode::TOO_MANY_REQUESTS, problem).into_response();
    };
    upgrade
        .max_message_size(MOST_BYTES)
        .max_frame_size(MOST_BYTES)
        // Messages go out one by one, each waited for: a buffer would only grow behind a slow browser.
        .write_buffer_size(0)
        .on_upgrade(move |socket| Socket::new(web, identity, place).run(socket))
}
