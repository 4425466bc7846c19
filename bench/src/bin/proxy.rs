//! What the proxy costs: the same server asked directly and through `ops proxy`, which runs alone here, on its
//! copy of the routes and without a database.

use anyhow::{Context, Result, bail};
use bench::{
    figure::{Figure, percentile, report},
    http::Connection,
    installation::{free_address, scratch},
};
use clap::Parser;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};
use tokio::net::{TcpListener, TcpStream};

const HOST: &str = "bench.localhost";
const BODY: usize = 10 * 1024;
const CHUNK: usize = 64 * 1024;
const LARGE: usize = 512 * 1024 * 1024;
/// Odoo's fastest pages take ten times as long.
const GOAL_MS: f64 = 1.0;

#[derive(Parser)]
#[command(about = "What the proxy adds to a request")]
struct Arguments {
    /// The program `ops`, of a release build.
    #[arg(long, env = "OPS_BIN", default_value = "ops")]
    ops: PathBuf,
    /// Requests one after the other.
    #[arg(long, default_value_t = 5000)]
    requests: usize,
    /// Connections at the same time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

struct Measured {
    latency: Vec<Duration>,
    rate: f64,
    throughput: f64,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let upstream = serve().await?;
    let folder = scratch()?;
    let proxy = Proxy::start(&arguments.ops, folder.path(), upstream).await?;
    // Warm: pages of the programs, buffers of the kernel.
    measure(upstream, 500, 4).await?;
    measure(proxy.address, 500, 4).await?;
    let direct = measure(upstream, arguments.requests, arguments.connections).await?;
    let through = measure(proxy.address, arguments.requests, arguments.connections).await?;

    let mut figures = Vec::new();
    for (name, part, goal) in [("median", 0.5, Some(GOAL_MS)), ("99 of 100", 0.99, None)] {
        let (direct, through) = (percentile(&direct.latency, part), percentile(&through.latency, part));
        figures.push(Figure::milliseconds(format!("direct, {name}"), direct));
        figures.push(Figure::milliseconds(format!("through the proxy, {name}"), through));
        let added = Figure::milliseconds(format!("added, {name}"), through.saturating_sub(direct));
        figures.push(Figure { goal, ..added });
    }
    figures.push(Figure::new("direct, all connections", direct.rate, "/s"));
    figures.push(Figure::new("through the proxy, all connections", through.rate, "/s"));
    figures.push(Figure::new("direct, one large body", direct.throughput, "MB/s"));
    figures.push(Figure::new("through the proxy, one large body", through.throughput, "MB/s"));
    report("proxy", &figures, arguments.json);
    Ok(ExitCode::SUCCESS)
}

async fn measure(address: SocketAddr, requests: usize, connections: usize) -> Result<Measured> {
    let mut connection = Connection::open(address, HOST).await?;
    let mut latency = Vec::with_capacity(requests);
    for _ in 0..requests {
        let began = Instant::now();
        ask(&mut connection).await?;
        latency.push(began.elapsed());
    }

    let each = requests / connections + 1;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(async move {
            let mut connection = Connection::open(address, HOST).await?;
            for _ in 0..each {
                ask(&mut connection).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let rate = (each * connections) as f64 / began.elapsed().as_secs_f64();

    let began = Instant::now();
    let length = connection.drain("/large").await?;
    if length != LARGE {
        bail!("{length} of {LARGE} bytes came");
    }
    let throughput = length as f64 / 1e6 / began.elapsed().as_secs_f64();
    Ok(Measured { latency, rate, throughput })
}

async fn ask(connection: &mut Connection) -> Result<()> {
    let (status, body) = connection.get("/").await?;
    if status != 200 || body.len() != BODY {
        bail!("the answer is {status} with {} bytes", body.len());
    }
    Ok(())
}

/// The server behind: a small page, and a large body.
async fn serve() -> Result<SocketAddr> {
    type Body = UnsyncBoxBody<Bytes, Infallible>;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (page, chunk) = (Bytes::from(vec![b'x'; BODY]), Bytes::from(vec![b'x'; CHUNK]));
    let answer = move |request: Request<Incoming>| -> Response<Body> {
        if request.uri().path() != "/large" {
            return Response::new(Full::new(page.clone()).boxed_unsync());
        }
        let chunk = chunk.clone();
        let frames = (0..LARGE / CHUNK).map(move |_| Ok(Frame::data(chunk.clone())));
        Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let service =
                    service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(request))));
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
            });
        }
    });
    Ok(address)
}

struct Proxy {
    process: Child,
    address: SocketAddr,
}

impl Proxy {
    async fn start(ops: &Path, folder: &Path, upstream: SocketAddr) -> Result<Self> {
        let route = json!({
            "environment_id": "0192f0c1-2345-7890-abcd-ef0123456789", "hostname": "bench", "project": "bench",
            "run_id": null, "state": "running", "container_id": null, "address": upstream, "websocket_port": null,
        });
        fs::create_dir_all(folder.join("proxy"))?;
        fs::write(folder.join("proxy/routes.json"), json!({"version": 1, "routes": [route]}).to_string())?;
        let address = free_address()?;
        let process = Command::new(ops)
            .args(["proxy", "--data-dir"])
            .arg(folder)
            .args(["--listen", &address.to_string(), "--base-domain", "localhost", "--log", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", ops.display()))?;
        let mut proxy = Self { process, address };
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = proxy.process.try_wait()? {
                bail!("`ops proxy` ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
