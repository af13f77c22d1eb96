//! The status page and `/status`, as a person's browser and a stranger meet them.

mod browser; // a real Chromium
mod photograph; // the pictures of the README

use self::browser::browser;
use crate::consumer::{Consumer, PATIENCE, expect_settled, load, while_load_flows};
use crate::contract;
use crate::shared::Scene;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use workbench::generator::Settings;
use workbench::http;
use workbench::services::{ports, wait_until};

/// Tab, as `WebDriver` writes it.
const TAB: char = '\u{e004}';

fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_port().expect("a free port")))
}

fn send(scene: &Scene, payloads: &[&str]) {
    let payloads: Vec<_> = payloads
        .iter()
        .map(|payload| Some(payload.as_bytes().to_vec()))
        .collect();
    contract::send(scene, &payloads);
}

/// What `/status` says.
fn status(address: SocketAddr) -> Option<Value> {
    let (_, body) = http::get_within(PATIENCE, address, "/status").ok()?;
    serde_json::from_str(&body).ok()
}

fn wait_for_state(address: SocketAddr, state: &str, consumer: &Consumer) {
    let is = || status(address).is_some_and(|status| status["verdict"]["state"] == state);
    assert!(
        wait_until(PATIENCE, is),
        "{state}: {:?}\n{}",
        status(address),
        consumer.text()
    );
}

#[test]
fn numbers_grow_live_while_events_flow() {
    let scene = Scene::new("page", 3);
    let address = free_address();
    let listen = address.to_string();
    let consumer = Consumer::start(&scene, &["--http-listen", &listen]);
    wait_for_state(address, "keeping_up", &consumer);
    let browser = browser();
    browser.open(&format!("http://{address}/"));
    browser.wait("document.getElementById('connection').dataset.state === 'live'");
    assert_eq!(browser.text("topic"), scene.topic);
    browser.run("window.same = true");
    let stored = || {
        browser
            .text("stored")
            .replace(',', "")
            .parse::<u64>()
            .unwrap_or(0)
    };
    let settings = Settings {
        rate: 400.0,
        ..load(&scene, 1)
    };
    while_load_flows(settings, || {
        let mut before = stored();
        for _ in 0..3 {
            assert!(
                wait_until(PATIENCE, || stored() > before),
                "{}",
                browser.text("main")
            );
            before = stored();
        }
        // The lines of rate, p50, p99 and lag, each with some points.
        browser.wait("document.querySelectorAll('.plot path.first').length >= 3");
        browser.wait("/p99 [0-9.]+ (µs|ms|s)/.test(document.querySelectorAll('.plot svg')[1].getAttribute('aria-label'))");
        browser.wait("/^[1-9]/.test(document.getElementById('rate').textContent)");
    });
    browser.wait("document.getElementById('title').textContent === 'Keeping up'");
    browser.wait("document.querySelectorAll('#partitions tr').length === 3");
    browser.wait("document.querySelectorAll('#phases tr').length === 5");
    assert_eq!(
        browser.run("return window.same"),
        true,
        "nothing was loaded again"
    );
    let now = status(address).expect("an answer");
    assert_eq!(now["messages"]["unaccounted"], 0, "{now}");
    let settled = now["messages"]["consumed"].as_u64().expect("a count");
    assert_eq!(
        settled,
        ["stored", "dead_lettered", "skipped"]
            .map(|key| now["messages"][key].as_u64().expect("a count"))
            .iter()
            .sum::<u64>()
    );
    assert_eq!(browser.log(), Vec::<String>::new(), "nothing to complain of");
    consumer.stop();
}

#[test]
fn hostile_text_is_shown_as_text_and_runs_nothing() {
    const IMAGE: &str = "<img src=x onerror=\"window.hacked=1\">";
    const SCRIPT: &str = "</script><script>window.hacked=2</script>";
    let scene = Scene::new("hostile_page", 1);
    let address = free_address();
    let listen = address.to_string();
    let secret = "hunter2-hunter2";
    let property = format!("sasl.password={secret}");
    let consumer = Consumer::start(&scene, &["--http-listen", &listen, "--kafka-property", &property]);
    wait_for_state(address, "keeping_up", &consumer);
    let of_type = json!({ "type": IMAGE }).to_string();
    let of_field =
        json!({"type": "server_metric", "timestamp": "2026-01-01T00:00:00Z", "server_id": "s", (SCRIPT): 1})
            .to_string();
    send(&scene, &[&of_type, &of_field, SCRIPT]);
    contract::send(&scene, &[Some(b"{\"\xff\xfe\x00\x1b[31m".to_vec())]);
    let browser = browser();
    browser.open(&format!("http://{address}/"));
    browser.wait("document.querySelectorAll('#letters li').length === 3");
    browser.run("document.querySelectorAll('#letters details').forEach((letter) => { letter.open = true; })");
    let letters = browser.text("letters");
    assert!(letters.contains(IMAGE) && letters.contains(SCRIPT), "{letters}");
    assert!(
        letters.contains("storage-consumer replay --partition 0 --offset 2"),
        "{letters}"
    );
    assert!(
        browser.text("findings").contains(SCRIPT),
        "{}",
        browser.text("findings")
    );
    let made = "return document.querySelectorAll('img, main script, iframe, [onerror]').length + (window.hacked ?? 0)";
    assert_eq!(browser.run(made), 0, "texts are no markup");
    assert_eq!(browser.log(), Vec::<String>::new(), "nothing violates the policy");
    let page = browser
        .run("return document.documentElement.innerHTML")
        .to_string();
    let (_, answer) = http::get_within(PATIENCE, address, "/status").expect("an answer");
    for told in [&page, &answer] {
        assert!(!told.contains(secret), "{told}");
        assert!(told.contains("sasl.password=***"), "{told}");
    }
    // The policy stands behind that: what got into the page all the same would not run.
    let inject = "for (const tell of [() => { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.hacked=3>') },
            () => { const script = document.createElement('script'); script.textContent = 'window.hacked=4'; document.body.append(script) }]) {
            try { tell() } catch { window.refused = (window.refused ?? 0) + 1 }
        }
        return [window.hacked ?? 0, window.refused ?? 0]";
    assert_eq!(browser.run(inject), json!([0, 2]));
    assert!(
        browser.log().iter().any(|line| line.contains("TrustedHTML")),
        "the browser says so"
    );
    drop(browser);
    consumer.stop();
}

#[test]
fn an_outage_is_told_in_words_and_a_lost_connection_too() {
    let (scene, mut own) = Scene::with_own_postgres("outage_page", 1);
    let address = free_address();
    let listen = address.to_string();
    let consumer = Consumer::start_on(&scene, &own, &["--http-listen", &listen]);
    wait_for_state(address, "keeping_up", &consumer);
    let browser = browser();
    browser.open(&format!("http://{address}/"));
    browser.wait("document.getElementById('title').textContent === 'Keeping up'");
    own.stop_fast().expect("it stops");
    send(&scene, &["{}"]);
    browser.wait("document.getElementById('title').textContent === 'Not ready'");
    browser.wait("document.getElementById('reasons').textContent.startsWith('postgres: ')");
    browser.wait("document.getElementById('spoken').textContent.startsWith('Not ready. postgres: ')");
    browser.wait("document.title.startsWith('Not ready')");
    browser.wait("document.querySelectorAll('#retries tr').length > 0");
    own.restart().expect("it starts");
    browser.wait("document.getElementById('title').textContent === 'Keeping up'");
    consumer.kill();
    browser.wait("!document.getElementById('lost').hidden && document.getElementById('lost').textContent.startsWith('Connection lost at ')");
    browser.wait("document.title.startsWith('Connection lost')");
    let consumer = Consumer::start_on(&scene, &own, &["--http-listen", &listen]);
    browser.wait("document.getElementById('lost').hidden && document.getElementById('connection').dataset.state === 'live'");
    drop(browser);
    expect_settled(&scene, &own, &consumer, 1);
    consumer.stop();
}

/// Finds every text whose contrast with what lies behind it is less than WCAG's AA asks for, and what is least.
const CONTRAST: &str = r"
    const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
    const luminance = ({ r, g, b }) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
    const over = (top, below) => ({ r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1 });
    const ground = (node) => {
        if (!node) return { r: 255, g: 255, b: 255, a: 1 };
        const colour = parse(getComputedStyle(node).backgroundColor);
        return colour.a === 1 ? colour : over(colour, ground(node.parentElement));
    };
    const found = [];
    let seen = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest('script, noscript, .unseen')) continue;
        seen += 1;
        const style = getComputedStyle(node);
        const behind = ground(node);
        const front = over(parse(node instanceof SVGElement ? style.fill : style.color), behind);
        const [low, high] = [luminance(front), luminance(behind)].sort((a, b) => a - b);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${node.tagName}.${node.getAttribute('class')} ${walker.currentNode.textContent.trim().slice(0, 40)}`);
    }
    return [seen, found];";

/// What can be reached, in the order of the document: how many, and names.
const REACHABLE: &str = r#"
    return [...document.querySelectorAll('a[href], summary, [tabindex="0"]')]
        .filter((node) => node.checkVisibility({ checkVisibilityCSS: true }))
        .map((node) => `${node.tagName} ${(node.getAttribute('aria-label') ?? node.textContent).trim().slice(0, 25)}`);"#;

const FOCUSED: &str = r"
    const node = document.activeElement;
    const style = getComputedStyle(node);
    return [`${node.tagName} ${(node.getAttribute('aria-label') ?? node.textContent).trim().slice(0, 25)}`, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];";

#[test]
fn everybody_can_read_it_by_eye_and_by_keyboard_on_any_screen() {
    let scene = Scene::new("readable_page", 2);
    let address = free_address();
    let listen = address.to_string();
    let consumer = Consumer::start(&scene, &["--http-listen", &listen]);
    wait_for_state(address, "keeping_up", &consumer);
    let long = format!("{{\"type\": \"{}\"}}", "long".repeat(100));
    send(&scene, &["no JSON", &long]);
    let browser = browser();
    browser.open(&format!("http://{address}/"));
    browser.wait("document.querySelectorAll('#letters li').length === 2");
    browser.wait("document.querySelectorAll('.plot text').length > 10");

    // The keyboard, on the page as it is at first; what comes later must not move the focus.
    let reachable = browser.run(REACHABLE);
    let reachable = reachable.as_array().expect("a list");
    assert!(reachable.len() > 10, "{reachable:?}");
    for (place, expected) in reachable.iter().enumerate() {
        browser.press(TAB);
        let focused = browser.run(FOCUSED);
        assert_eq!(focused[0], *expected, "stop {place} of {reachable:?}");
        assert_eq!(focused[1], true, "{expected} shows that it has the focus");
    }

    browser.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })");
    browser.run("document.getElementById('lost').hidden = false");
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        let states = "return ['keeping_up', 'behind', 'not_ready', 'starting'].map((state) => {
            document.getElementById('verdict').dataset.state = state;
            return (() => {CONTRAST})();
        })";
        let found = browser.run(&states.replace("CONTRAST", CONTRAST));
        for state in found.as_array().expect("one a state") {
            assert!(state[0].as_u64() > Some(100), "{scheme}: {state}");
            assert_eq!(state[1], json!([]), "{scheme}: contrast below 4.5");
        }
    }
    for width in [320, 768, 1280] {
        browser.resize(width, 800);
        browser.wait(&format!("document.documentElement.clientWidth === {width}"));
        let wide = browser.run("return document.documentElement.scrollWidth");
        assert!(wide.as_u64() <= Some(u64::from(width)), "{wide} at {width}");
    }
    assert_eq!(browser.log(), Vec::<String>::new(), "nothing to complain of");
    drop(browser);
    consumer.stop();
}

#[test]
fn strangers_names_are_refused_and_watchers_are_bounded() {
    let scene = Scene::new("guarded_page", 1);
    let address = free_address();
    let listen = address.to_string();
    let names = ["--http-names", "Consumer.example.com"];
    let consumer = Consumer::start(&scene, &[&["--http-listen", &listen], &names[..]].concat());
    wait_for_state(address, "keeping_up", &consumer);
    let ask = |path: &str, host: &str| {
        http::ask(PATIENCE, address, &format!("GET {path} HTTP/1.0"), host, "").expect("an answer")
    };
    for path in ["/", "/page.js", "/status", "/status/events"] {
        assert_eq!(ask(path, "evil.example:80").0, 421, "{path}");
    }
    for path in [
        "/",
        "/page.css",
        "/page.js",
        "/plot.js",
        "/words.js",
        "/icon.svg",
        "/status",
    ] {
        for host in ["localhost", "consumer.example.com:9090"] {
            let (status, head, _) = ask(path, host);
            let head = head.to_ascii_lowercase();
            assert_eq!(status, 200, "{path}");
            for header in [
                "content-security-policy: default-src 'none'; script-src 'self';",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
                "cache-control: no-store",
                "cross-origin-resource-policy: same-origin",
            ] {
                assert!(head.contains(header), "{path}: {header} in {head}");
            }
            assert!(!head.contains("access-control-"), "{head}");
        }
    }
    let mut silent = TcpStream::connect(address).expect("a connection");
    silent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(
            ask(path, "evil.example").0,
            200,
            "{path} is for machines, by any name"
        );
    }

    // Watchers: so many, each sees events, and a seat that is left is free again.
    let watch = || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(stream, "GET /status/events HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("asked");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        (stream, String::from_utf8_lossy(&head[9..]).into_owned())
    };
    let mut watchers: Vec<(TcpStream, String)> = (0..32).map(|_| watch()).collect();
    assert!(watchers.iter().all(|(_, status)| status == "200"));
    assert_eq!(watch().1, "503", "one too many");
    // A page that finds no seat asks instead.
    let browser = browser();
    browser.open(&format!("http://{address}/"));
    browser.wait("document.getElementById('connection').dataset.state === 'slow'");
    browser.wait("document.getElementById('title').textContent === 'Keeping up'");
    drop(browser);
    let (stream, _) = &mut watchers[7];
    let mut seen = String::new();
    let mut some = [0; 4096];
    while seen.matches("data: {\"version\"").count() < 2 {
        let read = stream.read(&mut some).expect("events come");
        seen += &String::from_utf8_lossy(&some[..read]);
    }
    watchers.truncate(31);
    assert!(wait_until(PATIENCE, || {
        std::thread::sleep(Duration::from_millis(50));
        watch().1 == "200"
    }));
    let said = silent.read(&mut some).expect("who asks nothing is not kept");
    assert_eq!(said, 0);
    consumer.stop();
}
