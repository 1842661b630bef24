//! A development directory: a SoftHSM2 token, a store and a configuration, made at the first start and used again at the next.
//! Credentials, signatures and policies are real: only the HSM differs from production.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    config::{Config, explain},
    error::Code,
    hsm::{Launch, PinSource},
    kms::admin::{ADMINISTRATOR_POLICY, Credentials},
    kms::seed::{LocalKmsSeed, Seed},
    secret::SecretText,
    server::{ExitError, Service, operator},
};

/// The path of the module in Debian's package.
pub const SOFTHSM2_MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const SOFTHSM2_CONF: &str = "SOFTHSM2_CONF";
/// How long the first start tries to make the administrator's access key.
const TRY_FOR: Duration = Duration::from_secs(10);
/// The pause between two of these tries.
const PAUSE: Duration = Duration::from_millis(200);

const SOFTHSM2_CONF_FILE: &str = "softhsm2.conf";
const TOKEN_LABEL: &str = "strongroom";
const ADMINISTRATOR: &str = "administrator";

/// A development directory.
pub struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`, which is made if it is not there; else as [`Self::enter`].
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(path: &Path) -> Result<Self, ExitError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| ExitError::new(format!("{}: {error}", path.display())))?;
        Self::enter(path)
    }

    /// The directory at `path`.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn enter(path: &Path) -> Result<Self, ExitError> {
        let failed = |error: std::io::Error| ExitError::new(format!("{}: {error}", path.display()));
        Ok(Self(fs::canonicalize(path).map_err(failed)?))
    }

    /// The configuration of the directory.
    ///
    /// # Errors
    /// If there is none: the directory was not set up.
    pub fn config(&self) -> Result<Config, ExitError> {
        let mut config = Config::read(&self.file("strongroom.toml")).map_err(ExitError::new)?;
        // Directories that were made by earlier versions do not name it.
        let conf = self.file(SOFTHSM2_CONF_FILE).display().to_string();
        config.hsm.environment.entry(SOFTHSM2_CONF.to_owned()).or_insert(conf);
        Ok(config)
    }

    /// The configuration of the directory, which is set up if it is not.
    ///
    /// # Errors
    /// If files cannot be written, or there is no SoftHSM2.
    pub async fn set_up(&self, module: &Path, launch: &Launch) -> Result<Config, ExitError> {
        if !self.file("strongroom.toml").exists() {
            let text = self.configuration(module);
            self.make_token(module, &text, launch).await?;
            // This file is written last: where it is, the token is complete.
            self.write("strongroom.toml", &text)?;
        }
        let config = self.config()?;
        operator::hsm::init(&config, launch, None, false).await?;
        Ok(config)
    }

    async fn make_token(&self, module: &Path, configuration: &str, launch: &Launch) -> Result<(), ExitError> {
        if !module.exists() {
            let text = format!(
                "{} is not there: install the package softhsm2, or name the module with --module",
                module.display()
            );
            return Err(ExitError::new(text));
        }
        // What an earlier start began and did not finish holds no keys yet.
        let tokens = self.file("tokens");
        let _ = fs::remove_dir_all(&tokens);
        fs::DirBuilder::new().mode(0o700).create(&tokens).map_err(ExitError::new)?;
        self.write(
            SOFTHSM2_CONF_FILE,
            &format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                tokens.display()
            ),
        )?;
        self.write("so-pin", random_pin()?.expose())?;
        self.write("pin", random_pin()?.expose())?;
        let config = Config::parse(configuration).map_err(ExitError::new)?;
        operator::hsm::init_token(&config, launch, PinSource::File(self.file("so-pin"))).await
    }

    fn configuration(&self, module: &Path) -> String {
        let path = |name: &str| self.file(name).display().to_string();
        format!(
            r#"# Made by `strongroom dev`. Regions: any that a caller names.
account = "000000000000"
listen = "127.0.0.1:8200"

[store]
path = {store:?}

[audit]
path = {audit:?}

[hsm]
module = {module:?}
token = "pkcs11:token={TOKEN_LABEL}"
pin = {{ file = {pin:?} }}
environment = {{ {SOFTHSM2_CONF} = {conf:?} }}
# SoftHSM2 does RSAES_OAEP_SHA_256 with raw RSA only.
allow_raw_rsa = true
"#,
            store = path("strongroom.sqlite"),
            audit = path("audit.jsonl"),
            module = module.display().to_string(),
            pin = path("pin"),
            conf = path(SOFTHSM2_CONF_FILE),
        )
    }

    /// The administrator's credentials, made at the first start.
    ///
    /// # Errors
    /// If they can be neither read nor made.
    pub async fn administrator(&self, service: &Service) -> Result<Credentials, ExitError> {
        if let Some(credentials) = self.stored_credentials() {
            return Ok(credentials);
        }
        let policies = BTreeMap::from([("administrator".to_owned(), ADMINISTRATOR_POLICY.to_owned())]);
        match service.admin.create_principal(ADMINISTRATOR, policies).await {
            Ok(_) => {}
            Err(error) if error.code == Code::AlreadyExistsException => {}
            Err(error) => return Err(ExitError::new(error)),
        }
        let made = make_access_key(service).await?;
        self.write("administrator", &format!("{}\n{}\n", made.access_key_id, made.secret.expose()))?;
        Ok(made)
    }

    fn stored_credentials(&self) -> Option<Credentials> {
        let text = zeroize::Zeroizing::new(fs::read_to_string(self.file("administrator")).ok()?);
        let (id, secret) = text.trim_end().split_once('\n')?;
        Some(Credentials { access_key_id: id.to_owned(), secret: SecretText::from(secret.to_owned()) })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file whole or not at all, for its owner only.
    fn write(&self, name: &str, content: &str) -> Result<(), ExitError> {
        let path = self.file(name);
        let new = self.file(&format!("{name}.new"));
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|error| ExitError::new(format!("{}: {error}", path.display())))
    }
}

/// Makes an access key for the administrator. At the first start the deployment may be founded a moment later, if the HSM fails once.
async fn make_access_key(service: &Service) -> Result<Credentials, ExitError> {
    let until = Instant::now() + TRY_FOR;
    loop {
        match service.admin.create_access_key(&service.vault, ADMINISTRATOR).await {
            Err(error) if error.code == Code::DependencyTimeoutException && Instant::now() < until => {
                tracing::warn!(
                    error = error.with_causes(),
                    "the administrator's access key could not be made; it is tried again"
                );
                tokio::time::sleep(PAUSE).await;
            }
            made => return made.map_err(ExitError::new),
        }
    }
}

fn random_pin() -> Result<SecretText, ExitError> {
    let mut bytes = zeroize::Zeroizing::new([0; 24]);
    getrandom::fill(bytes.as_mut_slice()).map_err(ExitError::new)?;
    Ok(SecretText::from(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// Reads a seed file: TOML, JSON or YAML, by its extension. One of local-kms is known by its `Keys`.
///
/// # Errors
/// If it cannot be read, or is not a valid seed.
pub fn read_seed(path: &Path) -> Result<Seed, ExitError> {
    let named = |text: String| ExitError::new(format!("{}: {text}", path.display()));
    // The file holds secrets of access keys, which `explain` does not repeat.
    let failed = |error| named(explain(&error));
    let source = config::Config::builder().add_source(config::File::from(path)).build().map_err(failed)?;
    match source.get::<config::Value>("Keys") {
        Ok(_) => source.try_deserialize::<LocalKmsSeed>().map_err(failed)?.into_seed().map_err(named),
        Err(_) => source.try_deserialize().map_err(failed),
    }
}

/// The shell script that a person pastes into a terminal to use the server at `url`.
pub fn shell_lines(url: &str, region: &str, administrator: &Credentials) -> String {
    let Credentials { access_key_id, secret } = administrator;
    format!(
        r#"# Paste these lines into a terminal to use this server:
export AWS_ENDPOINT_URL_KMS={url}
export AWS_ACCESS_KEY_ID={access_key_id}
export AWS_SECRET_ACCESS_KEY={secret}
export AWS_REGION={region}
export AWS_DEFAULT_REGION={region}
# and, for example:
key=$(aws kms create-key --description "my first key" --query KeyMetadata.KeyId --output text)
plaintext=$(mktemp) ciphertext=$(mktemp)
printf 'attack at dawn' > "$plaintext"
aws kms encrypt --key-id "$key" --plaintext "fileb://$plaintext" --query CiphertextBlob --output text | base64 -d > "$ciphertext"
aws kms decrypt --ciphertext-blob "fileb://$ciphertext" --query Plaintext --output text | base64 -d
"#,
        secret = secret.expose(),
    )
}
