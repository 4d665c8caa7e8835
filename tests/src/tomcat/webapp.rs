//! What a Tomcat of the lab serves.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A web application: the name of its directory, which Tomcat takes path and version from, and its files.
#[derive(Clone, Debug)]
pub struct Webapp {
    directory: String,
    files: Vec<(&'static str, String)>,
}

impl Webapp {
    /// The lab's application with sessions as `version`, alone on its server.
    pub fn alone(version: &str, backend: &str) -> Self {
        Self::visits("ROOT".to_owned(), version, backend)
    }

    /// The same as one of several versions that Tomcat itself keeps apart ("parallel deployment").
    pub fn parallel(version: &str, backend: &str) -> Self {
        Self::visits(format!("ROOT##{version}"), version, backend)
    }

    /// One of several versions that does not start: it asks for a class that is nowhere.
    pub fn broken(version: &str) -> Self {
        let listener = "  <listener><listener-class>no.such.Listener</listener-class></listener>\n</web-app>";
        Self::parallel(version, "nowhere").declaring(listener)
    }

    /// Its session cookie has another name.
    pub fn cookie(self, name: &str) -> Self {
        let config = format!(
            "  <session-config><cookie-config><name>{name}</name></cookie-config></session-config>\n</web-app>"
        );
        self.declaring(&config)
    }

    /// The end of its `web.xml` is another one.
    fn declaring(mut self, end: &str) -> Self {
        for (_, text) in self.files.iter_mut().filter(|(path, _)| *path == "WEB-INF/web.xml") {
            *text = text.replace("</web-app>", end);
        }
        self
    }

    /// The name of its directory.
    pub(super) fn directory(&self) -> &str {
        &self.directory
    }

    /// Tomcat has to look for further versions of it.
    pub(super) fn is_parallel(&self) -> bool {
        self.directory.contains("##")
    }

    fn visits(directory: String, version: &str, backend: &str) -> Self {
        let files = [
            ("WEB-INF/web.xml", include_str!("web.xml")),
            ("WEB-INF/visit.jspf", include_str!("visit.jspf")),
            ("WEB-INF/version", version),
            ("WEB-INF/backend", backend),
            ("index.jsp", include_str!("index.jsp")),
            ("whoami.jsp", include_str!("whoami.jsp")),
            ("login.jsp", include_str!("login.jsp")),
            ("clear.jsp", include_str!("clear.jsp")),
            ("version.jsp", include_str!("version.jsp")),
            ("links.jsp", include_str!("links.jsp")),
            ("health", "up\n"),
        ];
        Self { directory, files: files.map(|(path, text)| (path, text.to_owned())).into() }
    }

    /// Answers whatever is asked with what it saw: `X-Seen: METHOD PATH BYTES`.
    pub fn seen() -> Self {
        let files = [("WEB-INF/web.xml", include_str!("seen.xml")), ("seen.jsp", include_str!("seen.jsp"))];
        Self { directory: "ROOT".to_owned(), files: files.map(|(path, text)| (path, text.to_owned())).into() }
    }

    /// Writes it where Tomcat looks for applications; `staging` lies beside that place. Tomcat may be running, and must
    /// not see half of it.
    pub(super) fn write(&self, staging: &Path, webapps: &Path) -> Result<()> {
        for (path, text) in &self.files {
            let path = staging.join(path);
            let folder = path.parent().context("a file lies in a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        let place = webapps.join(&self.directory);
        fs::create_dir_all(webapps)?;
        fs::rename(staging, &place).with_context(|| format!("create {}", place.display()))
    }
}
