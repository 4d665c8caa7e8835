//! A small application with sessions in its memory, as a servlet container keeps them, that says who answered.

mod application;
mod content;
mod pages;
mod sessions;
mod upgrade;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use application::Application;
use sessions::Sessions;

/// Serves the demo application.
#[derive(Parser)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,
    /// The release that this instance claims to be.
    #[arg(long, value_name = "LABEL")]
    version: String,
    /// The name of this instance.
    #[arg(long, value_name = "BACKEND")]
    name: String,
    /// The session cookie's name.
    #[arg(long, default_value = "JSESSIONID")]
    cookie: String,
    /// The path below which its pages are, and which its cookie is for, as with a context of Tomcat's.
    #[arg(long, value_name = "PATH")]
    context: Option<String>,
    /// What its session ids end in, behind a dot, as with Tomcat's `jvmRoute`.
    #[arg(long)]
    route: Option<String>,
    /// Closes connections on which no request came for so long.
    #[arg(long, value_name = "MS")]
    idle: Option<u64>,
}

/// One thread is enough for one instance, and it keeps many of them from fighting over few processors.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let listener =
        TcpListener::bind(arguments.listen).await.with_context(|| format!("listen on {}", arguments.listen))?;
    let application =
        Application::new(&arguments.version, &arguments.name, Sessions::new(&arguments.cookie, arguments.route))?;
    let application = application.below(arguments.context);
    let application = Rc::new(RefCell::new(application));
    let serve = async {
        loop {
            // Out of descriptors or a client that left early: the next one may do better.
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let application = Rc::clone(&application);
            tokio::task::spawn_local(async move {
                let service = service_fn(|request| {
                    let application = Rc::clone(&application);
                    async move { Ok::<_, Infallible>(pages::answer(&application, peer, request).await) }
                });
                // An error here is a client that broke the connection off: theirs to know.
                // Of a request's head that comes in pieces, hyper's clock runs from the end of the last response on, too.
                let idle = arguments.idle.map(Duration::from_millis);
                let mut server = http1::Builder::new();
                server.half_close(true).timer(TokioTimer::new()).header_read_timeout(idle);
                let connection = server.serve_connection(TokioIo::new(stream), service);
                let _ = connection.with_upgrades().await;
            });
        }
    };
    tokio::task::LocalSet::new().run_until(serve).await
}
