//! A real Chromium without a screen, driven through chromedriver: one for all tests, which take turns.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use workbench::http;
use workbench::services::folder::Folder;
use workbench::services::process::{Launch, Process};
use workbench::services::{in_path, ports, wait_until};

/// A start on a loaded machine, and anything that a page is asked.
const LIMIT: Duration = Duration::from_secs(90);

const CHROMIUM: [&str; 12] = [
    "--headless",
    // Root may not have one, and the pages are ours.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--hide-scrollbars",
    "about:blank",
];

/// The browser; the kernel ends it with this process.
pub(crate) struct Browser {
    driver: SocketAddr,
    session: String,
    _processes: [Process; 2],
    _folder: Folder,
}

/// The browser of all tests, for one of them at a time, on an empty page that looks as by default.
pub(crate) fn browser() -> MutexGuard<'static, Browser> {
    static BROWSER: OnceLock<Mutex<Browser>> = OnceLock::new();
    let browser = BROWSER.get_or_init(|| Mutex::new(Browser::start()));
    // A test that failed leaves a page, which is left now.
    let browser = browser.lock().unwrap_or_else(PoisonError::into_inner);
    browser.open("about:blank");
    browser.devtools("Emulation.clearDeviceMetricsOverride", &json!({}));
    browser.prefer("light");
    browser.log();
    browser
}

fn program(name: &str) -> PathBuf {
    in_path(name).unwrap_or_else(|| {
        panic!("{name} is not installed, and the status page is tested in a real browser: run scripts/setup test (Debian's packages chromium and chromium-driver)")
    })
}

impl Browser {
    fn start() -> Self {
        let folder = Folder::new().expect("a folder");
        let port = || ports::free_port().expect("a free port");
        let (debugging, driver) = (port(), port());
        let profile = folder.path().join("profile");
        fs::create_dir(&profile).expect("a new profile");
        // Started by us and not by the driver: so that it ends with us, whatever becomes of the driver.
        let chromium = Launch::new(
            "Chromium",
            program("chromium"),
            folder.path().join("chromium.log"),
        )
        .args([
            format!("--remote-debugging-port={debugging}"),
            format!("--user-data-dir={}", profile.display()),
        ])
        .args(CHROMIUM)
        .env("HOME", folder.path())
        .spawn()
        .unwrap_or_else(|error| panic!("{error:#}"));
        let log = folder.path().join("driver.log");
        let process = Launch::new("chromedriver", program("chromedriver"), log)
            .args([format!("--port={driver}")])
            .spawn()
            .unwrap_or_else(|error| panic!("{error:#}"));
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let is_up = |port, path: &str| {
            http::ask(LIMIT, at(port), &format!("GET {path} HTTP/1.1"), "localhost", "").is_ok()
        };
        let up = wait_until(LIMIT, || {
            is_up(debugging, "/json/version") && is_up(driver, "/status")
        });
        assert!(up, "no browser\n{}\n{}", chromium.log_tail(), process.log_tail());
        let mut browser = Self {
            driver: at(driver),
            session: String::new(),
            _processes: [process, chromium],
            _folder: folder,
        };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"debuggerAddress": format!("127.0.0.1:{debugging}")},
        }}});
        let session = browser.ask("POST", "/session", &wanted);
        let id = session["sessionId"].as_str().expect("a session has a name");
        browser.session = format!("/session/{id}");
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let line = format!("{method} {path} HTTP/1.1");
        let (status, _, answer) = http::ask(LIMIT, self.driver, &line, "localhost", &body.to_string())
            .unwrap_or_else(|error| panic!("{line}: {error:#}"));
        let mut answer: Value = serde_json::from_str(&answer).expect("chromedriver answers in JSON");
        assert_eq!(status, 200, "{line} {body}: {answer}");
        answer["value"].take()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), body)
    }

    /// Goes to an address, and waits until the page is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// What a function's body returns in the page.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of an element, as it stands in the document.
    pub(crate) fn text(&self, id: &str) -> String {
        let text = self.run(&format!("return document.getElementById('{id}').textContent"));
        text.as_str().expect("an element has a text").to_owned()
    }

    /// Waits until an expression is true in the page.
    pub(crate) fn wait(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        let holds = wait_until(LIMIT, || self.run(&script) == Value::Bool(true));
        let page = || self.run("return document.body.innerText");
        assert!(holds, "never: {expression}\n{}", page());
    }

    /// Presses a key, by its code in `WebDriver`.
    pub(crate) fn press(&self, key: char) {
        let keys = [
            json!({"type": "keyDown", "value": key}),
            json!({"type": "keyUp", "value": key}),
        ];
        self.post(
            "/actions",
            &json!({"actions": [{"type": "key", "id": "keys", "actions": keys}]}),
        );
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    /// `light` or `dark`, as a person's system would say.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// A window of that size, in CSS pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// The window as a PNG.
    pub(crate) fn photograph(&self) -> Vec<u8> {
        let picture = self.devtools("Page.captureScreenshot", &json!({"format": "png"}));
        let picture = picture["data"].as_str().expect("a text");
        BASE64_STANDARD.decode(picture).expect("Chromium writes base64")
    }

    /// What the browser has complained of since the last call: errors of scripts, violations of the policy, what could not
    /// be loaded.
    pub(crate) fn log(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().expect("a list").iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}
