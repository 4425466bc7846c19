//! A machine joins: it makes its keys and its database password, sends the public halves with the token, and keeps
//! what it is answered. Nothing secret but the token travels, and the token only to the machine whose authority has the
//! fingerprint that the administrator gave.

use super::{Authority, Fingerprint, Identity, NodeError, NodeName, authority::PublicKey, service, tls};
use crate::{
    Error, Result,
    config::Config,
    error::Detail,
    id::{HostId, InstallationId},
    postgres::{ops::Role, scram_verifier},
    reconcile::epoch::OnDisk,
    session,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// Where the node listener takes requests to join.
pub const PATH: &str = "/join";
const PATIENCE: Duration = Duration::from_secs(20);
const MAX_ANSWER: usize = 64 << 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    pub token: String,
    pub name: String,
    /// Base64 of an uncompressed point on P-256.
    pub public_key: String,
    /// The database password's SCRAM verifier.
    pub verifier: String,
    /// Where the machine can be called.
    pub address: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Joined {
    pub installation: InstallationId,
    pub host: HostId,
    pub name: String,
    pub db_role: String,
    pub database: String,
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub authority: String,
}

/// On the console's machine.
pub async fn admit_in_txn(
    conn: &mut PgConnection,
    authority: &Authority,
    request: &JoinRequest,
) -> Result<Joined> {
    let bad_key = || Error::invalid("public_key", Detail::new("host.key"));
    let key = BASE64.decode(&request.public_key).ok().and_then(PublicKey::parse).ok_or_else(bad_key)?;
    service::checked_name(&request.name)?;
    let token = session::Fingerprint::of(&request.token);
    let row = sqlx::query!(
        r#"select host_id as "host!: HostId", host_name as "name!", db_role as "db_role!"
           from ops.join_host($1, $2, $3, $4, $5)"#,
        token.as_bytes(),
        request.name,
        Fingerprint::of_key(&key.subject_public_key_info()).to_string(),
        request.verifier,
        request.address
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(service::refused)?;
    let place = sqlx::query!(
        r#"select id as "id: InstallationId", current_database()::text as "database!" from ops.installation"#
    )
    .fetch_one(conn)
    .await?;
    Ok(Joined {
        installation: place.id,
        database: place.database,
        host: row.host,
        name: row.name,
        db_role: row.db_role,
        certificate: authority.vouch(row.host, &key).map_err(Error::internal)?,
        authority: authority.certificate.clone(),
    })
}

/// What the machine that joins is told.
#[derive(Debug)]
pub struct Invitation {
    /// `host:port` of the node listener.
    pub control: String,
    pub token: SecretString,
    /// Of the authority's certificate.
    pub authority: Fingerprint,
    pub name: String,
    /// Where this machine's proxy will listen.
    pub listen: SocketAddr,
    /// Where it can be called, when that is not where this connection comes from.
    pub address: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    message: String,
}

/// On the machine that joins. Afterwards its data directory holds all that it needs.
pub async fn join(config: &Config, invitation: &Invitation) -> std::result::Result<Identity, NodeError> {
    if config.control_dir().join("data").exists() {
        let reason = "this data directory has an ops database of its own: choose another --data-dir";
        return Err(NodeError::Refused(reason.to_owned()));
    }
    let password = Role::Worker.password(config)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let place = &invitation.control;
    let late = |_| NodeError::unreachable(place, "no answer in time");
    let tcp = timeout(PATIENCE, TcpStream::connect(place)).await.map_err(late)?;
    let tcp = tcp.map_err(|error| NodeError::unreachable(place, error))?;
    let here = tcp.local_addr().map_err(|error| NodeError::unreachable(place, error))?.ip();
    let address = invitation
        .address
        .clone()
        .unwrap_or_else(|| SocketAddr::new(here, invitation.listen.port()).to_string());
    let request = JoinRequest {
        token: invitation.token.expose_secret().to_owned(),
        name: invitation.name.clone(),
        public_key: BASE64.encode(key.public_key_raw()),
        verifier: scram_verifier(password.expose_secret())?,
        address,
    };
    let connector = TlsConnector::from(Arc::new(tls::joining(invitation.authority)?));
    let tls =
        timeout(PATIENCE, connector.connect(NodeName::Control.server_name(), tcp)).await.map_err(late)?;
    let tls = tls.map_err(|error| match error.to_string() {
        cause if cause.contains("UnknownIssuer") => NodeError::Refused(format!(
            "{place} is not the machine that the fingerprint belongs to; nothing was sent to it"
        )),
        cause => NodeError::unreachable(place, cause),
    })?;
    let joined = timeout(PATIENCE, ask(tls, place, &request)).await.map_err(late)??;
    let identity = Identity {
        installation: joined.installation,
        host: joined.host,
        name: joined.name,
        control: place.clone(),
        db_role: joined.db_role,
        database: joined.database,
        listen: invitation.listen,
    };
    identity.store(config, &joined.certificate, &key.serialize_pem(), &joined.authority)?;
    let installation = config.installation_file();
    let known = OnDisk { installation: identity.installation, epoch: None };
    known.write(&installation).map_err(NodeError::io(installation))?;
    Ok(identity)
}

async fn ask(
    tls: tokio_rustls::client::TlsStream<TcpStream>,
    place: &str,
    request: &JoinRequest,
) -> std::result::Result<Joined, NodeError> {
    let strange = |cause: String| NodeError::unreachable(place, cause);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
        .await
        .map_err(|error| strange(error.to_string()))?;
    let serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let body = serde_json::to_vec(request).map_err(|error| strange(error.to_string()))?;
    let request = Request::post(PATH)
        .header(header::HOST, NodeName::Control.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| strange(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| strange(error.to_string()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| strange(error.to_string()))?.to_bytes();
    drop(serving);
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map_err(|error| strange(error.to_string())),
        _ => Err(match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => NodeError::Refused(refusal.message),
            Err(_) => strange(status.to_string()),
        }),
    }
}
