//! nginx at the client as a pooling proxy: many people's requests, mixed over few kept-alive connections to the virtual address.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Connection;
use crate::lab::Lab;
use crate::lab::process::Process;

/// Connections to the virtual address that are kept.
pub const KEPT: usize = 16;
/// Where it listens, in the client's namespace.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

/// Starts it and waits until it answers.
pub fn start(lab: &Lab) -> Result<Process> {
    let folder = lab.dir().join("pooling-proxy");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let config = folder.join("nginx.conf");
    fs::write(&config, text(lab, &folder.display().to_string())).context("write nginx.conf")?;
    let mut command = lab.client().command("nginx");
    command.args(["-e", "stderr", "-p"]).arg(&folder).arg("-c").arg(&config);
    let mut process = lab.client().spawn("nginx", &mut command).context("start nginx: is it installed?")?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let answer = Connection::open(lab.client(), ADDRESS).and_then(|mut connection| connection.get("/health", None));
        match answer {
            Ok(response) if response.status == 200 => return Ok(process),
            _ if Instant::now() < deadline && process.ended()?.is_none() => {
                std::thread::sleep(Duration::from_millis(10))
            }
            answer => bail!("nginx does not pass requests on: {answer:?}; it says:\n{}", process.log()),
        }
    }
}

/// One process without a master: it ends with its handle. What fails is passed on as a failure, not tried again.
fn text(lab: &Lab, folder: &str) -> String {
    format!(
        r#"daemon off;
master_process off;
worker_processes 1;
user root;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream shop {{
        server {service} max_fails=0;
        keepalive {KEPT};
        keepalive_requests 1000000000;
    }}
    server {{
        listen {ADDRESS};
        location / {{
            proxy_pass http://shop;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_next_upstream off;
        }}
    }}
}}
"#,
        service = lab.service(),
    )
}
