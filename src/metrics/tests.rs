//! Names and values, and that all that is given out speaks of the names that exist.

use std::collections::BTreeSet;

use expect_test::expect;

use super::*;

#[test]
fn an_hsm_that_is_not_used_any_more_is_not_shown() {
    let metrics = Metrics::new();
    let shown = |names: &[&str]| {
        let hsm = |name: &&str| HsmSample { name: (*name).into(), up: true, restarts: 2, ..HsmSample::default() };
        let text = metrics.render(&Sample { hsms: names.iter().map(hsm).collect(), ..Sample::default() });
        text.lines().filter(|line| line.contains("hsm=")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["a", "b"]).len(), 16);
    let one = shown(&["a"]);
    assert!(one.len() == 8 && one.iter().all(|line| line.contains("{hsm=\"a\"}")), "{one:?}");
    assert!(one.contains(&"strongroom_hsm_restarts_total{hsm=\"a\"} 2".to_owned()), "{one:?}");
    assert_eq!(shown(&["b", "a"]).len(), 16);
}

#[test]
fn a_certificate_of_another_file_takes_the_place_of_the_first() {
    let metrics = Metrics::new();
    let shown = |certificate: Option<(&str, f64)>| {
        let certificate = certificate.map(|(file, days_left)| CertificateSample { file: file.into(), days_left });
        let text = metrics.render(&Sample { certificate, ..Sample::default() });
        text.lines().filter(|line| line.contains("file=")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(shown(Some(("a", 9.5))), ["strongroom_certificate_days_left{file=\"a\"} 9.5"]);
    assert_eq!(shown(Some(("b", -1.0))), ["strongroom_certificate_days_left{file=\"b\"} -1.0"]);
    assert_eq!(shown(None), [""; 0]);
}

/// Everything, once.
fn all() -> String {
    let metrics = Metrics::new();
    metrics.observe_call("Encrypt", "Success", 0.0004);
    metrics.observe_call("Encrypt", "Success", 20.0);
    metrics.observe_call("Encrypt", "AccessDeniedException", 0.0001);
    metrics.observe_lost_connection("bare_lf");
    metrics.observe_readiness(true);
    for is_open in [true, true, false] {
        metrics.observe_connection(is_open);
    }
    metrics.render(&Sample {
        hsms: vec![HsmSample {
            name: "a".into(),
            up: true,
            restarts: 2,
            queue_depth: 1,
            sessions: 8,
            ..HsmSample::default()
        }],
        hsm_errors: vec![HsmErrors { function: "C_Encrypt".into(), code: "CKR_DEVICE_ERROR".into(), count: 3 }],
        audit_records: 7,
        audit_failures: 5,
        audit_writable: true,
        store_writers: 3,
        store_bytes: 4096,
        keys: BTreeMap::from([("Disabled", 0), ("Enabled", 6)]),
        view_age: Duration::from_millis(250),
        clock_in_doubt: true,
        certificate: Some(CertificateSample { file: "/c".into(), days_left: 30.5 }),
        began: 1000.5,
    })
}

#[test]
fn names_and_values() {
    let text = all();
    let mut values: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.contains("_bucket"))
        // What the process takes up is another thing each time.
        .map(|line| line.split_once(' ').filter(|_| line.starts_with("process_")).map_or(line, |(name, _)| name))
        .collect();
    values.sort_unstable();
    expect![[r#"
        process_cpu_seconds_total
        process_max_fds
        process_open_fds
        process_resident_memory_bytes
        process_start_time_seconds
        process_threads
        strongroom_audit_failures_total 5
        strongroom_audit_records_total 7
        strongroom_audit_writable 1
        strongroom_build_info{version="0.1.0"} 1
        strongroom_call_seconds_count{operation="Encrypt"} 3
        strongroom_call_seconds_sum{operation="Encrypt"} 20.0005
        strongroom_calls_total{operation="Encrypt",outcome="AccessDeniedException"} 1
        strongroom_calls_total{operation="Encrypt",outcome="Success"} 2
        strongroom_certificate_days_left{file="/c"} 30.5
        strongroom_clock_in_doubt 1
        strongroom_connections 1
        strongroom_hsm_cached_handles{hsm="a"} 0
        strongroom_hsm_errors_total{function="C_Encrypt",code="CKR_DEVICE_ERROR"} 3
        strongroom_hsm_pin_refused{hsm="a"} 0
        strongroom_hsm_queue_depth{hsm="a"} 1
        strongroom_hsm_restarts_total{hsm="a"} 2
        strongroom_hsm_sessions_busy{hsm="a"} 0
        strongroom_hsm_sessions{hsm="a"} 8
        strongroom_hsm_threads_replaced_total{hsm="a"} 0
        strongroom_hsm_up{hsm="a"} 1
        strongroom_keys{state="Disabled"} 0
        strongroom_keys{state="Enabled"} 6
        strongroom_lost_connections_total{reason="bare_lf"} 1
        strongroom_ready 1
        strongroom_store_bytes 4096
        strongroom_store_writers 3
        strongroom_view_age_seconds 0.25"#]]
    .assert_eq(&values.join("\n"));
    assert!(text.contains(r#"strongroom_call_seconds_bucket{le="0.0005",operation="Encrypt"} 2"#), "{text}");
    assert!(text.contains(r#"strongroom_call_seconds_bucket{le="+Inf",operation="Encrypt"} 3"#), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_process_tells_of_itself() {
    let text = all();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect(name);
        line.parse().expect(name)
    };
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_threads") >= 1.0);
    assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
    assert!((value("process_start_time_seconds") - 1000.5).abs() < 1e-9 && value("process_cpu_seconds_total") >= 0.0);
}

#[test]
fn a_counter_does_not_go_back() {
    let metrics = Metrics::new();
    metrics.render(&Sample { audit_records: 7, ..Sample::default() });
    let text = metrics.render(&Sample { audit_records: 6, ..Sample::default() });
    assert!(text.contains("strongroom_audit_records_total 7\n"), "{text}");
}

/// Names of metrics in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_name = |word: &&str| ["strongroom_", "process_"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(is_name).map(str::to_owned).collect()
}

fn names_that_exist() -> BTreeSet<String> {
    let text = all();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

fn given_out(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every text of this name in a document, wherever it is.
fn texts<'a>(value: &'a serde_json::Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(members) => {
            found.extend(members.get(name).and_then(serde_json::Value::as_str));
            members.values().for_each(|value| texts(value, name, found));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, name, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_exists_and_for_all_of_it() {
    let exist = names_that_exist();
    let dashboard: serde_json::Value = serde_json::from_str(&given_out("deploy/grafana-dashboard.json")).expect("JSON");
    let mut asked = Vec::new();
    ["expr", "query"].into_iter().for_each(|name| texts(&dashboard, name, &mut asked));
    let alerts = given_out("deploy/prometheus-alerts.yml");
    let asked: BTreeSet<_> = names_in(&asked.join("\n")).union(&names_in(&alerts)).cloned().collect();
    let unknown: Vec<_> = asked.difference(&exist).collect();
    assert!(unknown.is_empty(), "there is no {unknown:?}");
    let is_of_histogram = |name: &&String| name.ends_with("_count") || name.ends_with("_sum");
    let unseen: Vec<_> = exist.difference(&asked).filter(|name| !is_of_histogram(name)).collect();
    assert!(unseen.is_empty(), "nobody looks at {unseen:?}");
}

#[test]
fn the_page_about_metrics_names_each_and_no_other() {
    let page = given_out("docs/metrics.md");
    let rows: String = page.lines().filter(|line| line.starts_with("| `")).collect();
    let whole = |name: String| {
        let part = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        part.map_or_else(|| name.clone(), str::to_owned)
    };

    assert_eq!(names_in(&rows), names_that_exist().into_iter().map(whole).collect());
}
