//! `strongroom bench` and `strongroom hsm bench`, for a moment, on a real server and its HSM: their figures are of calls that were
//! made, and nothing of what they made for themselves stays.

use std::{collections::BTreeSet, fs, path::Path, process::Output};

use serde_json::{Value, json};

use crate::{
    server::{Credentials, REGION, Server},
    tls,
};

/// A shell with the variables that AWS's clients read, and this verb in it.
fn bench(endpoint: &str, credentials: &Credentials, arguments: &[&str]) -> Output {
    let shell = Server::new()
        .with("AWS_ENDPOINT_URL_KMS", endpoint)
        .with("AWS_REGION", REGION)
        .with("AWS_ACCESS_KEY_ID", &credentials.id)
        .with("AWS_SECRET_ACCESS_KEY", &credentials.secret);
    shell.run(&[&["bench", "--seconds", "0.1"], arguments].concat())
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    // No progress bar where nobody looks.
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks the steps of a curve, and gives the number of its calls.
fn check(curve: &Value, load: &str, loads: &[u64]) -> u64 {
    let steps = curve["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step[load].as_u64().unwrap()).collect::<Vec<_>>(), loads);
    for step in steps {
        let [p50, p90, p99, p999, max] =
            ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(|name| step[name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max, "{step}");
        assert!(step["per_second"].as_f64().unwrap() > 0.0, "{step}");
        assert_eq!(step["errors"], json!({}), "{step}");
    }
    assert!(loads.contains(&curve["knee"][load].as_u64().unwrap()));
    steps.iter().map(|step| step["requests"].as_u64().unwrap()).sum()
}

#[test]
fn a_server_is_measured_with_signed_requests_and_keys_that_go_again() {
    let server = Server::started();
    let plot = server.root().join("latency.svg");
    let operations = "Encrypt,Decrypt,GenerateDataKey,GenerateDataKeyPair,GenerateRandom,GenerateMac,VerifyMac,Sign,Verify,DescribeKey";
    let plot_argument = plot.display().to_string();
    let arguments = ["--json", "--operations", operations, "--connections", "1,4", "--plot", &plot_argument];
    let report = json_of(&bench(server.endpoint(), &server.administrator(), &arguments));

    let measured = report["operations"].as_array().unwrap();
    let names: Vec<_> = measured.iter().map(|each| each["operation"].as_str().unwrap()).collect();
    assert_eq!(names.join(","), operations);
    let records = server.audit();
    for each in measured {
        let requests = check(each, "connections", &[1, 4]);
        let of_it = |record: &&Value| record["eventName"] == each["operation"] && record["errorCode"].is_null();
        let recorded = records.iter().filter(of_it).count() as u64;
        assert!(recorded >= requests, "{}: {recorded} of {requests}", each["operation"]);
    }
    let made = report["scheduled_for_deletion"].as_array().unwrap();
    assert_eq!(made.len(), 3, "one to encrypt, one to sign, one for MACs");
    for key in made {
        assert_eq!(server.done("DescribeKey", &json!({"KeyId": key}))["KeyMetadata"]["KeyState"], "PendingDeletion");
    }
    let svg = fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("knee: ") && svg.contains("Verify: latency"), "{svg}");
}

#[test]
fn a_key_of_the_users_stays_and_what_is_refused_is_said() {
    let server = Server::shared();
    let (endpoint, administrator, key) = (server.endpoint(), server.administrator(), server.new_key());
    let quick = ["--connections", "2", "--key", &key];
    let table = bench(endpoint, &administrator, &[&quick[..], &["--operations", "Encrypt"]].concat());
    let printed = text(&table.stdout);
    assert!(printed.starts_with("Encrypt, 32 bytes\nCONNECTIONS  PER SECOND") && printed.contains("knee"), "{printed}");
    assert_eq!(server.done("DescribeKey", &json!({"KeyId": key}))["KeyMetadata"]["KeyState"], "Enabled");

    let refused = bench(endpoint, &administrator, &[&quick[..], &["--operations", "Sign"]].concat());
    assert!(text(&refused.stderr).contains("of another key usage"), "{}", text(&refused.stderr));
    let stranger = Credentials { secret: "wrong".to_owned(), ..administrator };
    let refused = bench(endpoint, &stranger, &quick);
    assert!(text(&refused.stderr).contains("InvalidSignatureException"), "{}", text(&refused.stderr));
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_server_behind_tls_is_measured_if_its_certificate_is_trusted() {
    let (server, administrator, _) = tls::serving();
    let endpoint = format!("https://localhost:{}", server.address().port());
    let ca_bundle = server.root().join("cert.pem").display().to_string();
    let quick = ["--json", "--connections", "2", "--operations", "GenerateRandom"];
    let report = json_of(&bench(&endpoint, &administrator, &[&quick[..], &["--ca-bundle", &ca_bundle]].concat()));
    check(&report["operations"][0], "connections", &[2]);
    assert_eq!(report["scheduled_for_deletion"], json!([]), "it takes no key");
    let distrusted = bench(&endpoint, &administrator, &[&quick[..], &["--ca-bundle", "/etc/hostname"]].concat());
    assert!(text(&distrusted.stderr).contains("it has no certificate"), "{}", text(&distrusted.stderr));
}

/// The files of a token, one for each object.
fn objects(directory: &Path) -> BTreeSet<String> {
    let tokens = fs::read_dir(directory.join("tokens")).unwrap().flatten();
    let files = tokens.flat_map(|token| fs::read_dir(token.path()).unwrap().flatten());
    files.map(|file| file.file_name().into_string().unwrap()).collect()
}

#[test]
fn an_hsm_is_measured_and_nothing_is_left_in_it() {
    let mut server = Server::started();
    server.stop();
    let before = objects(&server.data());
    let plot = server.root().join("hsm.svg").display().to_string();
    let quick = ["hsm", "bench", "--seconds", "0.02", "--sessions", "1,2", "--operations"];
    let json = [&quick[..], &["aes-encrypt,ec-sign,aes-generate", "--json", "--plot", &plot]].concat();
    let report: Value = serde_json::from_str(&server.printed(&json)).unwrap();

    let measured = report["operations"].as_array().unwrap();
    assert_eq!(measured.len(), 3);
    for each in measured {
        check(&each["by_sessions"], "sessions", &[1, 2]);
        check(&each["by_calls"], "calls", &[1, 2, 4, 8, 16, 32, 64]);
    }
    let (sessions, configured) = (report["sessions"].as_u64().unwrap(), &report["configured_sessions"]);
    assert!([1, 2].contains(&sessions) && configured == 4, "{report}");
    assert_eq!(objects(&server.data()), before);
    assert!(fs::read_to_string(plot).unwrap().contains("aes-generate: throughput"));

    let printed = server.printed(&[&quick[..], &["random"]].concat());
    let advice = printed.trim_end().rsplit("\n\n").next().unwrap();
    assert!(advice.starts_with("Set `sessions = ") && advice.contains("random per second at a p99 of "), "{printed}");
}
