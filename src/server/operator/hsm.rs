//! The operator's verbs on HSMs. Nothing here loads a PKCS#11 module or reads a PIN: worker processes do.

use serde_json::{Value, json};

use super::super::{
    ExitError, HSM_START, HSM_STOP,
    machines::{admin, all_hsms, members, open_store},
};
use crate::{
    authn::Vault,
    clock::{Clock, SystemClock},
    config::Config,
    hsm::{
        self, Hsm, Joined, Launch, PinSource, Profile, Settings, WrappingKeyReport,
        setup::{FindWrappingKey, InitToken, MakeWrappingKey, OneShot, Probe},
    },
    key::material::Keeping,
    kms::admin::{Admin, Credentials, found},
    store::deployment_in,
};

/// Makes the token of the first HSM, for development.
///
/// # Errors
/// If there is one already, or no place for one.
pub async fn init_token(config: &Config, launch: &Launch, so_pin: PinSource) -> Result<(), ExitError> {
    let all = members(config)?;
    job_on(launch, &all, named(&all, None)?, InitToken { so_pin }).await
}

/// Makes the wrapping key of an HSM, unless it is there. It is made only if no other HSM has one, for two HSMs with different
/// wrapping keys could never share the work; and not if the keys in the store are wrapped under another, for it would open none of
/// them.
///
/// # Errors
/// Why there is no wrapping key.
pub async fn init(
    config: &Config,
    launch: &Launch,
    name: Option<&str>,
    sole: bool,
) -> Result<WrappingKeyReport, ExitError> {
    let all = members(config)?;
    let member = named(&all, name)?;
    let needed = needed_wrapping_key(config).await?;
    if let Some(there) = job_on(launch, &all, member, FindWrappingKey).await? {
        return match needed.filter(|needed| *needed != there.cka_id) {
            Some(needed) => Err(lacks(config, member, &needed)),
            None => Ok(there),
        };
    }
    for other in all.iter().filter(|other| other.name != member.name) {
        if job_on(launch, &all, other, FindWrappingKey).await?.is_some() {
            let text = format!(
                "`{other}` has a wrapping key: bring it to `{member}` with `strongroom hsm join`",
                other = other.name,
                member = member.name
            );
            return Err(ExitError::new(text));
        }
    }
    if let Some(needed) = needed {
        return Err(lacks(config, member, &needed));
    }
    let verb = RecordedVerb::begin(config, "InitHsm", json!({"hsm": member.name, "sole": sole})).await?;
    verb.end(job_on(launch, &all, member, MakeWrappingKey { sole }).await).await
}

/// CKA_ID of the wrapping key under which the keys in the store are wrapped; `None` if there is no store, or it is empty.
async fn needed_wrapping_key(config: &Config) -> Result<Option<Vec<u8>>, ExitError> {
    if !config.store.path.exists() {
        return Ok(None);
    }
    let deployment = deployment_in(&config.store.path).await.map_err(ExitError::new)?;
    Ok(deployment.and_then(|deployment| match &deployment.newest_material().keeping {
        Keeping::Wrapped { wrapping_key, .. } => Some(wrapping_key.clone()),
        Keeping::Token { .. } => None,
    }))
}

/// The error of an HSM without the wrapping key that is needed.
fn lacks(config: &Config, member: &Settings, needed: &[u8]) -> ExitError {
    let cka_id: String = needed.iter().map(|byte| format!("{byte:02x}")).collect();
    ExitError::new(format!(
        "`{}` does not have the wrapping key that the keys in {} are wrapped under, CKA_ID {cka_id}: bring that one back from the \
         HSM's backup, or from another HSM with `strongroom hsm join`. Another key would open none of them; where nothing of them is \
         needed any more, begin with another store.path.",
        member.name,
        config.store.path.display()
    ))
}

/// Probes what an HSM can do.
///
/// # Errors
/// If it cannot be opened.
pub async fn probe(config: &Config, launch: &Launch, name: Option<&str>) -> Result<Profile, ExitError> {
    let all = members(config)?;
    job_on(launch, &all, named(&all, name)?, Probe).await
}

/// The settings of an HSM; without a name, of the first.
///
/// # Errors
/// If there is none of that name.
pub fn settings(config: &Config, name: Option<&str>) -> Result<Settings, ExitError> {
    named(&members(config)?, name).cloned()
}

/// Brings the wrapping key to the HSM called `to`. `say` prints the progress.
///
/// # Errors
/// Why it was not brought.
pub async fn join(
    config: &Config,
    launch: &Launch,
    to: &str,
    from: Option<&str>,
    so_pin: PinSource,
    say: impl Fn(&str) -> Result<(), ExitError>,
) -> Result<(), ExitError> {
    let all = members(config)?;
    let to = named(&all, Some(to))?;
    let from = match from {
        Some(name) => named(&all, Some(name))?,
        None => all.iter().find(|other| other.name != to.name).ok_or_else(|| ExitError::new(NO_OTHER))?,
    };
    if from.name == to.name {
        return Err(ExitError::new(NO_OTHER));
    }
    let show = |fingerprint: &str| {
        let text = format!("`{}` waits for the key under an RSA key of its own, SHA-256\n{fingerprint}\n", to.name);
        // The fingerprint is for comparison only: the key is brought also if it cannot be printed.
        let _ = say(&text);
    };
    let verb = RecordedVerb::begin(config, "JoinHsm", json!({"hsm": to.name, "from": from.name})).await?;
    let joined = hsm::join(launch, from, to, so_pin, show).await.map_err(ExitError::from);
    say(&match verb.end(joined).await? {
        Joined::Now => format!(
            "`{}` has the wrapping key of `{}`. A service that runs takes it into use by itself.\n",
            to.name, from.name
        ),
        Joined::Already => format!("`{}` has joined already.\n", to.name),
    })
}

const NO_OTHER: &str = "a wrapping key is brought from another HSM: the configuration names it under [[hsm.further]]";

/// Forgets refused PINs, so that they are tried once more. The answer is for the operator: which HSMs had refused one.
///
/// # Errors
/// If the ledger of logins cannot be read or written.
pub async fn retry_pin(config: &Config, name: Option<&str>) -> Result<String, ExitError> {
    let all = all_hsms(config)?;
    let chosen = match name {
        Some(_) => std::slice::from_ref(named(&all, name)?),
        None => &all,
    };
    let names: Vec<_> = chosen.iter().map(|member| &member.name).collect();
    let verb = RecordedVerb::begin(config, "RetryPin", json!({"hsms": names})).await?;
    verb.end(retry_pins(chosen)).await
}

fn retry_pins(chosen: &[Settings]) -> Result<String, ExitError> {
    let mut text = String::new();
    for member in chosen {
        text += &match hsm::retry_pin(member)? {
            true => format!("`{}`: the refused PIN is forgotten, and will be tried once more\n", member.name),
            false => format!("`{}`: no PIN was refused\n", member.name),
        };
    }
    Ok(text)
}

/// Makes an access key for a principal. Founds the deployment if it is not founded yet.
///
/// # Errors
/// If no HSM has the wrapping key, or the store is another account's.
pub async fn create_access_key(config: &Config, launch: Launch, principal: &str) -> Result<Credentials, ExitError> {
    let store = open_store(config).await?;
    let hsm = Hsm::open(members(config)?, launch);
    let vault = Vault::new(hsm.clone());
    let made = async {
        hsm.opened(HSM_START).await?;
        found(&store, &hsm, &vault, &config.account, SystemClock.now()).await.map_err(ExitError::new)?;
        admin(config, store)?.create_access_key(&vault, principal).await.map_err(ExitError::new)
    };
    let made = made.await;
    // SoftHSM2 loses its token when the process ends inside a login.
    hsm.stop();
    hsm.stopped(HSM_STOP).await;
    made
}

/// A verb that an HSM carries out. Its audit record is written before, so that nothing is done unrecorded, and a second one if it
/// fails.
struct RecordedVerb {
    admin: Admin,
    name: &'static str,
    parameters: Value,
}

impl RecordedVerb {
    async fn begin(config: &Config, name: &'static str, parameters: Value) -> Result<Self, ExitError> {
        let admin = admin(config, open_store(config).await?)?;
        admin.record(name, parameters.clone(), None).await.map_err(ExitError::new)?;
        Ok(Self { admin, name, parameters })
    }

    async fn end<T>(self, outcome: Result<T, ExitError>) -> Result<T, ExitError> {
        if let Err(error) = &outcome {
            self.admin.record(self.name, self.parameters, Some(&error.text)).await.map_err(ExitError::new)?;
        }
        outcome
    }
}

/// The HSM of that name, or the first.
fn named<'a>(all: &'a [Settings], name: Option<&str>) -> Result<&'a Settings, ExitError> {
    let found = all.iter().find(|member| name.is_none_or(|name| name == member.name));
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|member| member.name.as_str()).collect();
        ExitError::new(format!("no HSM is called `{}`; there are {}", name.unwrap_or_default(), names.join(", ")))
    })
}

/// Has an HSM do one job. The error names the HSM if there are several.
async fn job_on<J: OneShot>(
    launch: &Launch,
    all: &[Settings],
    member: &Settings,
    job: J,
) -> Result<J::Answer, ExitError> {
    let done = hsm::carry_out(launch, member, job).await;
    Ok(done.map_err(|error| if all.len() > 1 { error.of(&member.name) } else { error })?)
}
