//! The checks of `config check`: files and variables that the configuration names must be there, with the right owner and
//! permissions. They are looked at as the user that runs the check, which should be the service's.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::{super::certificate::ServerCertificate, os_user};
use crate::{
    clock::{Clock, SystemClock},
    config::{Config, unread_variables},
    hsm::PinSource,
    store::account_in,
};

/// Permissions of everybody who is neither owner nor in the group.
const OTHERS: u32 = 0o007;
/// Permissions of everybody but the owner.
const ALL_BUT_OWNER: u32 = 0o077;

/// A result of a check that an operator should know.
pub struct Finding {
    /// The field of the configuration, such as `hsm.pin`.
    pub field: String,
    /// The result.
    pub text: String,
    /// True if it must be corrected: the service cannot run so, or should not.
    pub is_wrong: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_wrong { "wrong" } else { "note" };
        write!(f, "{kind}: {}: {}", self.field, self.text)
    }
}

/// Checks everything that `config` names.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    for name in unread_variables() {
        findings.note("environment", format!("{name} is not read: a field is set by STRONGROOM__ and its name"));
    }
    findings.check_hsms(config);
    findings.check_tls(config);
    findings.check_roots(config);
    findings.check_audit(config);
    findings.check_store(config).await;
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn wrong(&mut self, field: &str, text: impl Into<String>) {
        self.0.push(Finding { field: field.to_owned(), text: text.into(), is_wrong: true });
    }

    fn note(&mut self, field: &str, text: impl Into<String>) {
        self.0.push(Finding { field: field.to_owned(), text: text.into(), is_wrong: false });
    }

    fn check_hsms(&mut self, config: &Config) {
        let hsm = &config.hsm;
        self.check_file("hsm.module", &hsm.module, None);
        self.check_pin("hsm.pin", &hsm.pin);
        for further in &hsm.further {
            let field = |name: &str| format!("hsm.further.{}.{name}", further.name);
            further.module.iter().for_each(|module| self.check_file(&field("module"), module, None));
            further.pin.iter().for_each(|pin| self.check_pin(&field("pin"), pin));
        }
        for cluster in &config.clusters {
            let field = format!("clusters.{}.module", cluster.id);
            cluster.module.iter().for_each(|module| self.check_file(&field, module, None));
        }
    }

    fn check_pin(&mut self, field: &str, pin: &PinSource) {
        match pin {
            PinSource::File(path) => self.check_file(field, path, Some(OTHERS)),
            PinSource::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(directory) => self.check_file(field, &PathBuf::from(directory).join(name), None),
                None => self.note(field, format!("the credential {name} comes from systemd, which did not start this")),
            },
            PinSource::Environment(name) if std::env::var_os(name).is_none() => {
                self.note(field, format!("the variable {name} is not set here"));
            }
            PinSource::Environment(_) | PinSource::Fd(_) => {}
        }
    }

    fn check_tls(&mut self, config: &Config) {
        let Some(tls) = &config.tls else { return };
        let before = self.0.len();
        self.check_file("tls.certificate", &tls.certificate, None);
        self.check_file("tls.key", &tls.key, Some(OTHERS));
        if self.0[before..].iter().any(|finding| finding.is_wrong) {
            return;
        }
        match ServerCertificate::read(tls) {
            Ok(certificate) => {
                if let Some(fault) = certificate.validity.fault(SystemClock.now()) {
                    self.wrong("tls.certificate", format!("{}: it {fault}", tls.certificate.display()));
                }
            }
            Err(text) => {
                let (field, text) = text.split_once(": ").unwrap_or(("tls", &text));
                self.wrong(field, text);
            }
        }
    }

    fn check_roots(&mut self, config: &Config) {
        for root in &config.attestation.roots {
            self.check_absolute("attestation.roots", root);
        }
        if let Err(text) = config.kms_settings() {
            self.wrong("attestation.roots", text.trim_start_matches("attestation.roots: "));
        }
    }

    fn check_audit(&mut self, config: &Config) {
        const FIELD: &str = "audit.path";
        let path = &config.audit.path;
        self.check_absolute(FIELD, path);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.wrong(FIELD, format!("{} is a directory", path.display())),
            Ok(metadata) => {
                self.check_private(FIELD, path, &metadata, OTHERS);
                self.check_writable(FIELD, path);
            }
            Err(_) => match directory_of(path) {
                Some(directory) if directory.is_dir() => self.check_writable(FIELD, directory),
                // Unlike the store's, it is not made.
                directory => self.wrong(FIELD, format!("{} is not there", directory.unwrap_or(path).display())),
            },
        }
    }

    async fn check_store(&mut self, config: &Config) {
        const FIELD: &str = "store.path";
        let path = &config.store.path;
        self.check_absolute(FIELD, path);
        let Ok(metadata) = fs::metadata(path) else {
            self.note(FIELD, format!("{} is not there; the first start makes it", path.display()));
            if let Some(there) = path.ancestors().skip(1).find(|directory| directory.is_dir()) {
                self.check_writable(FIELD, there);
            }
            return;
        };
        self.check_private(FIELD, path, &metadata, ALL_BUT_OWNER);
        self.check_writable(FIELD, path);
        self.note(FIELD, format!("{} belongs to {}", path.display(), owner(&metadata)));
        match account_in(path).await {
            Ok(None) => self.note(FIELD, "no deployment has been founded in it yet"),
            Ok(Some(account)) if account == config.account => self.note(FIELD, format!("it is of account {account}")),
            Ok(Some(account)) => self.wrong(FIELD, format!("it is of account {account}, not {}", config.account)),
            Err(error) => self.wrong(FIELD, format!("{}: {error}", path.display())),
        }
    }

    /// Checks a file that the service reads. `closed_to` are the bits of its mode that must not be set.
    fn check_file(&mut self, field: &str, path: &Path, closed_to: Option<u32>) {
        self.check_absolute(field, path);
        match File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_dir() => self.wrong(field, format!("{} is a directory", path.display())),
            Ok(metadata) => {
                closed_to.iter().for_each(|others| self.check_private(field, path, &metadata, *others));
            }
            Err(error) => self.wrong(field, not_readable(path, &error)),
        }
    }

    fn check_absolute(&mut self, field: &str, path: &Path) {
        if !path.is_absolute() {
            let text =
                format!("{} is relative, so where it is depends on where the service is started", path.display());
            self.wrong(field, text);
        }
    }

    fn check_private(&mut self, field: &str, path: &Path, metadata: &Metadata, others: u32) {
        let mode = metadata.mode() & 0o7777;
        if metadata.is_file() && mode & others != 0 {
            let closed = mode & !others;
            let text = format!("{} is open to others (mode {mode:04o}): chmod {closed:o} it", path.display());
            self.wrong(field, text);
        }
    }

    fn check_writable(&mut self, field: &str, path: &Path) {
        if access(path, Access::WRITE_OK).is_err() {
            let whose = fs::metadata(path).map_or_else(|_| "somebody else".to_owned(), |metadata| owner(&metadata));
            self.wrong(field, format!("{} cannot be written by {}; it belongs to {whose}", path.display(), us()));
        }
    }
}

fn not_readable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{} is not there", path.display()),
        io::ErrorKind::PermissionDenied => format!("{} cannot be read by {}", path.display(), us()),
        _ => format!("{}: {error}", path.display()),
    }
}

fn directory_of(path: &Path) -> Option<&Path> {
    path.parent().map(|directory| if directory.as_os_str().is_empty() { Path::new(".") } else { directory })
}

fn owner(metadata: &Metadata) -> String {
    named(metadata.uid())
}

fn us() -> String {
    named(rustix::process::geteuid().as_raw())
}

fn named(user: u32) -> String {
    os_user::user_name(user).unwrap_or_else(|| format!("user {user}"))
}
