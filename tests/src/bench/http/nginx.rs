//! nginx as the application: a small file, and a page that issues sessions.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::applications::wait_until_healthy;
use crate::lab::Lab;
use crate::lab::config::APPLICATION_PORT;
use crate::lab::process::Process;

/// Bytes of the file.
const FILE: usize = 128;

/// Starts one on every backend host.
pub(super) fn start_all(lab: &Lab) -> Result<Vec<Process>> {
    (1..=lab.backends().len())
        .map(|index| start(lab, index).with_context(|| format!("start nginx on backend host {index}")))
        .collect()
}

fn start(lab: &Lab, index: usize) -> Result<Process> {
    let node = lab.backend(index);
    let folder = lab.dir().join(format!("nginx-{}", node.role()));
    let pages = folder.join("pages");
    fs::create_dir_all(&pages).with_context(|| format!("create {}", pages.display()))?;
    fs::write(pages.join("index.html"), "x".repeat(FILE)).context("write the page")?;
    let config = folder.join("nginx.conf");
    fs::write(&config, text(node.role(), &folder.display().to_string())).context("write nginx.conf")?;
    let mut command = node.command("nginx");
    command.args(["-e", "stderr", "-p"]).arg(&folder).arg("-c").arg(&config);
    let mut process = node.spawn("nginx", &mut command)?;
    wait_until_healthy(lab, index, &mut process, Duration::from_secs(5))?;
    Ok(process)
}

/// One process without a master: it ends with its handle.
fn text(role: &str, folder: &str) -> String {
    format!(
        r#"daemon off;
master_process off;
worker_processes 1;
user root;
pid {folder}/nginx.pid;
events {{
    worker_connections 4096;
    multi_accept on;
}}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 60s;
    keepalive_requests 1000000000;
    open_file_cache max=16 inactive=600s;
    default_type text/html;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {APPLICATION_PORT} backlog=4096;
        root {folder}/pages;
        add_header X-Backend {role};
        location = /health {{ return 200 "ok\n"; }}
        location = /login {{
            add_header X-Backend {role};
            add_header Set-Cookie "JSESSIONID=$request_id; Path=/; HttpOnly";
            return 200 "ok\n";
        }}
    }}
}}
"#
    )
}
