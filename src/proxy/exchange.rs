//! One request: whose it is, where it goes, and what the client hears when it cannot go there.

use super::{
    BaseDomain, HEALTH_PATH, ProxyOptions, Routes,
    admission::Guard,
    answer,
    body::{self, Body},
    forward::{self, Failure, Head},
    headers::{self, Audience, Origin},
    page::Page,
    route::Entry,
    site::Site,
    tunnel::Tunnels,
    upstream::{self, Target, UpstreamClient},
};
use crate::environment::EnvironmentState;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CACHE_CONTROL, HOST},
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::{
    body::{Body as _, Incoming},
    upgrade::OnUpgrade,
};
use hyper_util::client::legacy::Client;
use hyperlocal::UnixConnector;
use std::{net::IpAddr, sync::Arc};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub struct Exchange {
    pub options: ProxyOptions,
    pub tunnels: Tunnels,
    base: BaseDomain,
    routes: Routes,
    console: Client<UnixConnector, Body>,
    console_uri: Uri,
}

/// A request that is ready to travel.
struct Travel {
    head: Head,
    path: PathAndQuery,
    /// None where there is none: then the request can be repeated.
    body: Option<Body>,
    /// The client's side of a websocket.
    upgrade: Option<OnUpgrade>,
    audience: Audience,
    guard: Arc<Guard>,
}

impl Exchange {
    pub fn new(options: ProxyOptions, base: BaseDomain, routes: Routes, stop: CancellationToken) -> Self {
        let tunnels = Tunnels { tracker: TaskTracker::new(), stop };
        let console_uri = hyperlocal::Uri::new(&options.console_socket, "/").into();
        Self { options, tunnels, base, routes, console: upstream::console_client(), console_uri }
    }

    pub async fn handle(
        &self,
        peer: IpAddr,
        guard: Arc<Guard>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if request.uri().path() == HEALTH_PATH {
            return healthy();
        }
        let method = request.method().clone();
        let received = request.headers().clone();
        let response = match self.destination(peer, &request) {
            Ok((Site::Console, origin)) => {
                self.to_console(self.prepare(request, &origin, Audience::Console, guard)).await
            }
            Ok((Site::Environment(label), origin)) => {
                self.to_environment(&label, self.prepare(request, &origin, Audience::Environment, guard))
                    .await
            }
            Ok((Site::Foreign, _)) => Err(answer::foreign_host(&self.options.urls)),
            Err(page) => Err(page),
        };
        response.unwrap_or_else(|page| page.respond(&method, &received))
    }

    fn destination(&self, peer: IpAddr, request: &Request<Incoming>) -> Result<(Site, Origin), Page> {
        if request.method() == Method::CONNECT {
            return Err(answer::method_not_allowed());
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(answer::bad_request()) };
        // A request in absolute form names its host twice; two names would be two opinions about the route.
        let differs =
            |authority: &Authority| !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes());
        if request.uri().authority().is_some_and(differs) || !request.uri().path().starts_with('/') {
            return Err(answer::bad_request());
        }
        let origin = Origin::of(peer, host.clone(), request.headers(), &self.options.trusted_proxies);
        let site = origin.host.to_str().ok().and_then(|host| self.base.site(host));
        Ok((site.ok_or_else(answer::bad_request)?, origin))
    }

    fn prepare(
        &self,
        mut request: Request<Incoming>,
        origin: &Origin,
        audience: Audience,
        guard: Arc<Guard>,
    ) -> Travel {
        let websocket = request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && headers::wants_websocket(request.headers());
        let upgrade = websocket.then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        Travel {
            head: Head {
                method: parts.method,
                headers: headers::outbound(&parts.headers, origin, audience, websocket),
            },
            path: parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            body: has_body.then(|| body::from_client(body, self.options.limits.body_idle_timeout)),
            upgrade,
            audience,
            guard,
        }
    }

    async fn to_console(&self, mut travel: Travel) -> Result<Response<Body>, Page> {
        let mut parts = self.console_uri.clone().into_parts();
        parts.path_and_query = Some(travel.path.clone());
        let uri = Uri::from_parts(parts).map_err(|_| answer::bad_request())?;
        let timeout = self.options.limits.response_timeout;
        let sent = forward::send(&self.console, travel.head.clone(), uri, travel.body.take(), timeout).await;
        match sent {
            Ok(response) => self.deliver(response, travel, None).ok_or_else(answer::console_restarting),
            Err(Failure::Slow) => Err(answer::console_slow()),
            Err(failure) => {
                tracing::debug!(cause = %failure, "the console does not answer");
                Err(answer::console_restarting())
            }
        }
    }

    async fn to_environment(&self, label: &str, mut travel: Travel) -> Result<Response<Body>, Page> {
        let urls = &self.options.urls;
        let unknown = || answer::unknown_environment(label, urls);
        let repeatable = travel.head.is_repeatable(travel.body.is_some());
        let mut changes = self.routes.changes();
        let entry = self.routes.find(label).ok_or_else(unknown)?;
        let body = travel.body.take();
        let (entry, failure) = match self.try_environment(&entry, &mut travel, body).await {
            Ok((response, slot)) => {
                return self
                    .deliver(response, travel, Some(slot))
                    .ok_or_else(|| answer::environment_unreachable(&entry.route, urls));
            }
            Err(Refusal::Page(page)) => return Err(page),
            Err(Refusal::Failed(failure)) => (entry, failure),
        };
        tracing::debug!(host = label, cause = %failure, "the environment does not answer");
        match failure {
            Failure::Slow => return Err(answer::environment_slow(&entry.route, urls)),
            _ if !repeatable => return Err(answer::environment_unreachable(&entry.route, urls)),
            _ => {}
        }
        // A container that restarts is back in a moment, perhaps at another address.
        let another = changes.wait_for(|table| table.get(label).is_none_or(|now| now.route != entry.route));
        let _ = tokio::time::timeout(self.options.limits.retry_after, another).await;
        let entry = self.routes.find(label).ok_or_else(unknown)?;
        match self.try_environment(&entry, &mut travel, None).await {
            Ok((response, slot)) => self
                .deliver(response, travel, Some(slot))
                .ok_or_else(|| answer::environment_unreachable(&entry.route, urls)),
            Err(Refusal::Page(page)) => Err(page),
            Err(Refusal::Failed(Failure::Slow)) => Err(answer::environment_slow(&entry.route, urls)),
            Err(Refusal::Failed(_)) => Err(answer::environment_unreachable(&entry.route, urls)),
        }
    }

    async fn try_environment(
        &self,
        entry: &Entry,
        travel: &mut Travel,
        body: Option<Body>,
    ) -> Result<(Response<Incoming>, OwnedSemaphorePermit), Refusal> {
        let urls = &self.options.urls;
        let upstream = match &entry.upstream {
            Some(upstream) if entry.route.state == EnvironmentState::Running => upstream,
            _ => return Err(Refusal::Page(answer::not_running(&entry.route, urls))),
        };
        let slot = upstream.slots.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Refusal::Page(answer::environment_busy(&entry.route, urls)))?;
        let (scheme, authority) = match &upstream.address {
            Target::Here(address) => {
                let mut address = *address;
                if let Some(port) = entry.route.websocket_port.filter(|_| is_event_path(travel.path.path())) {
                    address.set_port(port);
                }
                (Scheme::HTTP, address.to_string())
            }
            // Its proxy knows the ports.
            Target::Node(address) => (Scheme::HTTPS, address.clone()),
        };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(travel.path.clone())
            .build()
            .map_err(|_| Refusal::Page(answer::bad_request()))?;
        let timeout = self.options.limits.response_timeout;
        let head = travel.head.clone();
        let response = match &upstream.client {
            UpstreamClient::Here(client) => forward::send(client, head, uri, body, timeout).await,
            UpstreamClient::Node(client) => forward::send(client, head, uri, body, timeout).await,
        };
        Ok((response.map_err(Refusal::Failed)?, slot))
    }

    /// The response as the client gets it. None when the upstream switched protocols without being asked.
    fn deliver(
        &self,
        mut response: Response<Incoming>,
        travel: Travel,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Option<Response<Body>> {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        headers::inbound(response.headers_mut(), travel.audience, switched);
        // The version is a matter between the client and us.
        *response.version_mut() = Version::HTTP_11;
        if !switched {
            return Some(response.map(|body| body::from_upstream(body, slot)));
        }
        self.tunnels.open(travel.upgrade?, hyper::upgrade::on(&mut response), travel.guard, slot);
        Some(response.map(|_| body::empty()))
    }
}

enum Refusal {
    Page(Page),
    Failed(Failure),
}

/// What Odoo's event process serves when there is one.
fn is_event_path(path: &str) -> bool {
    ["/websocket", "/longpolling"]
        .iter()
        .filter_map(|prefix| path.strip_prefix(prefix))
        .any(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn healthy() -> Response<Body> {
    let mut response = Response::new(body::full("ok\n".to_owned()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
