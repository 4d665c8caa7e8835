//! The balancer beside Tomcat's own parallel deployment: versions come and go, and so do sessions (C1 to C6, C14 to C16, C20,
//! C28 to C39).
//!
//! The last host runs one Tomcat with all versions, which chooses by itself; the others run a version each, behind the
//! balancer. What is asked of one is asked of the other, by people who have a browser for each.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Browser, Request, Response, Whoami};
use balancer_tests::lab::Hook;
use balancer_tests::tomcat::{Tomcat, Webapp};

use crate::scene::{Kind, Scene, wait_until};
use crate::stage::Stage;

under_both_hooks! {
    c1_c2_c3_c4_c6_versions_and_their_order,
    c10_c14_c15_c16_c28_c30_c31_c32_c34_c35_c36_lives_of_sessions,
    c20_c33_a_cookie_with_a_name_of_its_own,
    c38_c39_old_versions_go_when_they_are_empty,
}

/// Longer than Tomcat's background thread takes to notice something, and than our daemon does.
const NOTICED: Duration = Duration::from_secs(3);

/// The Tomcat that has all versions.
struct Parallel {
    tomcat: Tomcat,
    host: usize,
}

impl Parallel {
    fn serve(scene: &Scene, host: usize, webapps: &[Webapp], undeploys: bool) -> Result<Self> {
        let mut tomcat = Tomcat::serve_and(scene.lab, host, webapps, undeploys)?;
        tomcat.wait(scene.lab)?;
        Ok(Self { tomcat, host })
    }

    /// Adds a version, and waits until Tomcat has done with it, whether it starts or not.
    fn deploy(&self, scene: &Scene, webapp: &Webapp) -> Result<()> {
        let done = || self.tomcat.process().log().matches("has finished in").count();
        let before = done();
        self.tomcat.deploy(scene.lab, webapp)?;
        wait_until("Tomcat deploys a version", Duration::from_secs(60), || Ok(done() > before))
    }

    fn undeploy(&self, scene: &Scene, webapp: &Webapp) -> Result<()> {
        let done = || self.tomcat.process().log().matches("Undeploying context").count();
        let before = done();
        self.tomcat.undeploy(scene.lab, webapp)?;
        wait_until("Tomcat undeploys a version", Duration::from_secs(60), || Ok(done() > before))
    }

    fn person(&self, scene: &Scene) -> [Browser; 2] {
        [Browser::new(scene.lab.client(), scene.lab.application(self.host)), scene.browser()]
    }

    /// Whoever comes without a session gets this version, from either.
    fn newest(&self, scene: &Scene, version: &str, when: &str) -> Result<()> {
        let [tomcats, ours] = whoami(&mut self.person(scene))?;
        ensure!(
            [&*tomcats.version, &*ours.version] == [version; 2],
            "{when}: Tomcat {}, balancer {}, not {version}",
            tomcats.version,
            ours.version
        );
        Ok(())
    }
}

fn whoami(person: &mut [Browser; 2]) -> Result<[Whoami; 2]> {
    let [tomcats, ours] = person;
    Ok([tomcats.whoami()?, ours.whoami()?])
}

fn request(person: &mut [Browser; 2], request: &Request) -> Result<[Response; 2]> {
    let [tomcats, ours] = person;
    Ok([tomcats.request(request.clone())?, ours.request(request.clone())?])
}

/// Both answer from this version, and know the session, or not.
fn ensure_same(answers: &[Whoami; 2], version: &str, known: bool, statement: &str) -> Result<()> {
    for (who, answer) in ["Tomcat", "balancer"].iter().zip(answers) {
        ensure!(answer.version == version && answer.known == known, "{statement}: {who} {answer:?}, not {version}");
    }
    Ok(())
}

fn c1_c2_c3_c4_c6_versions_and_their_order(hook: Hook) -> Result<()> {
    let stage = Stage::new(hook, "order").hosts(7).versions(&[("002", &[1])]);
    stage.play(|scene| {
        // C1: the application without `##` is of the empty version, which is the lowest. Ours have labels, and none is empty.
        let (empty, first) = (Webapp::alone("empty", "b7"), Webapp::parallel("002", "b7"));
        let parallel = Parallel::serve(scene, 7, &[empty, first.clone()], false)?;
        parallel.newest(scene, "002", "C1: 002 is above the empty version")?;
        let mut anna = parallel.person(scene);
        ensure_same(&whoami(&mut anna)?, "002", false, "C7")?;
        for (statement, label, host, newest) in [
            ("C4: 001 is below 002", "001", 2, "002"),
            ("C2: 10 is above 002", "10", 3, "10"),
            ("C2: 2 is above 10", "2", 4, "2"),
            ("C3: 12 is below 2", "12", 5, "2"),
        ] {
            parallel.deploy(scene, &Webapp::parallel(label, "b7"))?;
            scene.start(host, label)?;
            let backend = scene.lab.application(host).to_string();
            let said = scene.cli(&["version", "add", "shop", label, "--backend", &backend])?;
            ensure!(label != "12" || said.contains("new sessions will get 2"), "C3: no warning of the padding: {said}");
            scene.healthy(label)?;
            parallel.newest(scene, newest, statement)?;
            ensure_same(&whoami(&mut anna)?, "002", true, statement)?;
        }
        // C6: the highest version does not start.
        parallel.deploy(scene, &Webapp::broken("3"))?;
        let nobody = scene.lab.application(6).to_string();
        scene.cli(&["version", "add", "shop", "3", "--backend", &nobody])?;
        std::thread::sleep(NOTICED);
        parallel.newest(scene, "2", "C6: 3 does not start")?;
        ensure_same(&whoami(&mut anna)?, "002", true, "C6: it retires nobody")?;
        // C1: when all others are gone the empty version is left.
        for label in ["3", "2", "12", "10", "002", "001"] {
            parallel.undeploy(scene, &Webapp::parallel(label, "b7"))?;
        }
        let [tomcats, _] = whoami(&mut parallel.person(scene))?;
        ensure!(tomcats.version == "empty", "C1: {tomcats:?}");
        Ok(())
    })
}

fn c10_c14_c15_c16_c28_c30_c31_c32_c34_c35_c36_lives_of_sessions(hook: Hook) -> Result<()> {
    Stage::new(hook, "lives").hosts(3).kind(Kind::Tomcat).play(|scene| {
        let (old, new) = (Webapp::parallel("001", "b3"), Webapp::parallel("002", "b3"));
        let parallel = Parallel::serve(scene, 3, std::slice::from_ref(&old), false)?;
        issues(scene, &parallel)?;
        let [mut anna, mut bert, mut carl, mut dora] = [0; 4].map(|_| parallel.person(scene));
        let annas = whoami(&mut anna)?;
        let berts = whoami(&mut bert)?;
        whoami(&mut carl)?;
        let doras = whoami(&mut dora)?;
        parallel.deploy(scene, &new)?;
        scene.add("002", &[2])?;
        parallel.newest(scene, "002", "C7")?;

        // C34, C36: a rename on the old version stays there.
        let renamed = request(&mut anna, &Request::get("/login"))?;
        for ((answer, was), who) in renamed.iter().zip(&annas).zip(["Tomcat", "balancer"]) {
            let id = answer.set_cookie("JSESSIONID").context("C34: no new id")?;
            ensure!(id != was.session && answer.version() == "001", "C36: {who} {} {id}", answer.version());
        }
        ensure_same(&whoami(&mut anna)?, "001", true, "C36")?;
        // The documented difference: the application has forgotten the old id, and only the balancer still sends it there.
        let [tomcats, ours] = presenting(&parallel, scene, &annas)?;
        ensure!((&*tomcats.version, tomcats.known) == ("002", false), "C34: Tomcat {tomcats:?}");
        ensure!((&*ours.version, ours.known) == ("001", false), "C34: balancer {ours:?}");

        // C35: logging in, by the container's own means, renames as well.
        let login = Request::get("/members").header("Authorization", "Basic YW5uYTpzZWNyZXQ=");
        for ((answer, was), who) in request(&mut dora, &login)?.iter().zip(&doras).zip(["Tomcat", "balancer"]) {
            let id = answer.set_cookie("JSESSIONID").with_context(|| format!("C35: {who}: no new id: {answer:?}"))?;
            ensure!(id != was.session && answer.version() == "001", "C35: {who} {} {id}", answer.version());
        }
        ensure_same(&whoami(&mut dora)?, "001", true, "C35")?;
        issued_twice(scene, &dora[1])?;

        // C16: the session has ended, and somebody kept its id.
        request(&mut bert, &Request::post("/clear", ""))?;
        ensure_same(&presenting(&parallel, scene, &berts)?, "002", false, "C16")?;

        // C14: his version is removed. C15: added again, it does not have his session.
        let carls = whoami(&mut carl)?;
        ensure_same(&carls, "001", true, "C8")?;
        parallel.undeploy(scene, &old)?;
        scene.cli(&["version", "rm", "shop", "001"])?;
        ensure_same(&presenting(&parallel, scene, &carls)?, "002", false, "C14")?;
        parallel.deploy(scene, &old)?;
        scene.add("001", &[1])?;
        ensure_same(&presenting(&parallel, scene, &carls)?, "002", false, "C15")?;
        parallel.newest(scene, "002", "C4")
    })
}

/// C10: in Tomcat, an id that two versions know is the highest's (in its source; no id is issued twice there). Here it is the
/// last issuer's, whichever that is. `dora` has a session on 001.
fn issued_twice(scene: &Scene, dora: &Browser) -> Result<()> {
    let id = "TWICE";
    let issue = Request::get(&format!("/version/?issue={id}"));
    let old = issue.clone().header("Cookie", &format!("JSESSIONID={}", dora.session().context("a session")?));
    for (request, issuer) in [(&issue, "002"), (&old, "001"), (&issue, "002"), (&old, "001")] {
        let issued = scene.connection()?.request(request)?;
        ensure!(issued.version() == issuer, "C10: issued by {}, not {issuer}", issued.version());
        let presented = scene.connection()?.get("/version/", Some(id))?;
        ensure!(presented.version() == issuer, "C10: {}, not the last issuer, {issuer}", presented.version());
    }
    Ok(())
}

/// What is answered to those who come with these ids, on new connections.
fn presenting(parallel: &Parallel, scene: &Scene, last: &[Whoami; 2]) -> Result<[Whoami; 2]> {
    let ask = |browser: &mut Browser, last: &Whoami| -> Result<Whoami> {
        let cookie = format!("JSESSIONID={}", last.session);
        browser.request(Request::get("/whoami").header("Cookie", &cookie))?.json()
    };
    let ([mut tomcats, mut ours], [a, b]) = (parallel.person(scene), last);
    Ok([ask(&mut tomcats, a)?, ask(&mut ours, b)?])
}

/// What a response says that begins a session, and what those say that do not: the same, whoever is asked.
fn issues(scene: &Scene, parallel: &Parallel) -> Result<()> {
    for mut browser in parallel.person(scene) {
        let first = browser.get("/links")?;
        let id = first.set_cookie("JSESSIONID").context("C32: no session begins")?;
        let digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
        ensure!(id.len() == 32 && id.bytes().all(digit), "C28: {id}");
        let cookies: Vec<_> = first.all("Set-Cookie").collect();
        ensure!(cookies == [format!("JSESSIONID={id}; Path=/; HttpOnly")], "C30: {cookies:?}");
        let body = String::from_utf8_lossy(&first.body).into_owned();
        let link = body.split('"').nth(1).context("C31: no link")?;
        ensure!(link == format!("/whoami;jsessionid={id}"), "C31: {link}");
        let again = browser.get("/whoami")?;
        ensure!(again.set_cookie("JSESSIONID").is_none() && again.json::<Whoami>()?.known, "C32: {again:?}");
        // Who takes no cookies follows the link.
        browser.clear_cookie();
        let followed: Whoami = browser.get(link)?.json()?;
        ensure!(followed.known && followed.session == id, "C31: {followed:?}");
        browser.clear_cookie();
        ensure!(browser.get("/version/")?.all("Set-Cookie").next().is_none(), "C32: no session was asked for");
    }
    Ok(())
}

/// The cookie is called `SESSION`, and so is the parameter. Ids of other alphabets are none of Tomcat's; they are the balancer's.
fn c20_c33_a_cookie_with_a_name_of_its_own(hook: Hook) -> Result<()> {
    Stage::new(hook, "named").hosts(3).kind(Kind::Tomcat).play(|scene| {
        scene.config = scene.config.replace("cookie = \"JSESSIONID\"", "cookie = \"SESSION\"");
        scene.balancer.power_off()?;
        scene.restart()?;
        let [old, new] = ["001", "002"].map(|version| Webapp::parallel(version, "b3").cookie("SESSION"));
        let parallel = Parallel::serve(scene, 3, &[old], false)?;
        let [mut tomcats, mut ours] = parallel.person(scene);
        let first = tomcats.get("/whoami")?;
        let id = first.set_cookie("SESSION").context("Tomcat issues no SESSION")?;
        let base64 = format!("{}/+==", "Zm9v".repeat(31));
        for id in [&id, &base64] {
            let issued = ours.get(&format!("/version/?cookie=SESSION&issue={}", id.replace('+', "%2B")))?;
            ensure!(issued.set_cookie("SESSION").as_ref() == Some(id), "it issues {:?}", issued.headers);
        }
        parallel.deploy(scene, &new)?;
        scene.add("002", &[2])?;
        for (statement, target, cookie, wanted) in [
            ("C7", "/version/", String::new(), "002"),
            ("C33: the cookie", "/version/", format!("SESSION={id}"), "001"),
            ("C20: the parameter", &format!("/version/;SESSION={id}"), String::new(), "001"),
            ("C20: not the usual one", &format!("/version/;jsessionid={id}"), String::new(), "002"),
            ("C33: nor the usual cookie", "/version/", format!("JSESSIONID={id}"), "002"),
        ] {
            for mut browser in parallel.person(scene) {
                let request = Request::get(target);
                let request = if cookie.is_empty() { request } else { request.header("Cookie", &cookie) };
                let got = browser.request(request)?;
                ensure!(got.version() == wanted, "{statement}: {} answers, not {wanted}", got.version());
            }
        }
        ensure!(base64.len() == 128);
        let answer =
            scene.browser().request(Request::get("/version/").header("Cookie", &format!("SESSION={base64}")))?;
        ensure!(answer.version() == "001", "C33: 128 bytes of base64 go to {}", answer.version());
        Ok(())
    })
}

/// C38: off by default (`c1_c2_c3_c4_c6_…` leaves Tomcat's versions where they are, and ours); here it is on.
fn c38_c39_old_versions_go_when_they_are_empty(hook: Hook) -> Result<()> {
    let stage = Stage::new(hook, "empty").hosts(4).service_lines("retire = \"empty\"\nkeep = 1\n");
    stage.play(|scene| {
        let [old, new, other] = ["001", "002", "001"].map(|version| Webapp::parallel(version, "b4"));
        let parallel = Parallel::serve(scene, 4, std::slice::from_ref(&old), true)?;
        // Beside it one that was told nothing.
        let stays = Parallel::serve(scene, 3, std::slice::from_ref(&other), false)?;
        let mut anna = parallel.person(scene);
        whoami(&mut anna)?;
        parallel.deploy(scene, &new)?;
        stays.deploy(scene, &new)?;
        scene.add("002", &[2])?;
        parallel.newest(scene, "002", "C7")?;
        std::thread::sleep(NOTICED);
        ensure_same(&whoami(&mut anna)?, "001", true, "C39: a session is left")?;
        ensure!(parallel.tomcat.has(scene.lab, &old), "C39: Tomcat has undeployed it");
        request(&mut anna, &Request::post("/clear", ""))?;
        wait_until("C39: Tomcat undeploys 001", Duration::from_secs(20), || Ok(!parallel.tomcat.has(scene.lab, &old)))?;
        let labels = || -> Result<Vec<String>> {
            let listed = scene.json(&["version", "ls", "shop"])?;
            let labels = listed.as_array().context("no versions")?.iter().filter_map(|it| it["label"].as_str());
            Ok(labels.map(str::to_owned).collect())
        };
        wait_until("C39: the balancer retires 001", Duration::from_secs(20), || Ok(labels()? == ["002"]))?;
        ensure!(stays.tomcat.has(scene.lab, &other), "C38: undeployed, and nobody asked for that");
        Ok(())
    })
}
