//! What an operator orders of the HSMs. Nothing here loads a module or reads a PIN: worker processes do.

use serde_json::{Value, json};

use super::{Failure, HSM_START, HSM_STOP, admin, all_hsms, members, open_store};
use crate::{
    authn::Vault,
    clock::{Clock, SystemClock},
    config::Config,
    hsm::{self, Hsm, Joined, Launch, PinSource, Profile, Settings, Step, StepDone, WrappingKeyReport},
    key::material::Keeping,
    kms::admin::{Admin, Credentials, found},
};

/// Makes the token of the first HSM, for development.
///
/// # Errors
/// If there is one already, or no place for one.
pub async fn init_token(config: &Config, launch: &Launch, so_pin: PinSource) -> Result<(), Failure> {
    let all = members(config)?;
    on(launch, &all, one(&all, None)?, Step::InitToken { so_pin }).await.map(|_| ())
}

/// Makes the wrapping key of an HSM, unless it is there. Two HSMs with keys of their own could never share the work, so it is
/// made only where no other has one; and none is made beside a store whose keys are under another, for it would open none of them.
///
/// # Errors
/// Why there is none.
pub async fn init(
    config: &Config,
    launch: &Launch,
    name: Option<&str>,
    sole: bool,
) -> Result<WrappingKeyReport, Failure> {
    let all = members(config)?;
    let member = one(&all, name)?;
    let needed = needed_wrapping_key(config).await?;
    if let Some(there) = on(launch, &all, member, Step::Look).await?.found()? {
        return match needed.filter(|needed| *needed != there.cka_id) {
            Some(needed) => Err(lacks(config, member, &needed)),
            None => Ok(there),
        };
    }
    for other in all.iter().filter(|other| other.name != member.name) {
        if on(launch, &all, other, Step::Look).await?.found()?.is_some() {
            let text = format!(
                "`{other}` has a wrapping key: bring it to `{member}` with `strongroom hsm join`",
                other = other.name,
                member = member.name
            );
            return Err(Failure::new(text));
        }
    }
    if let Some(needed) = needed {
        return Err(lacks(config, member, &needed));
    }
    let order = Order::of(config, "InitHsm", json!({"hsm": member.name, "sole": sole})).await?;
    let made = on(launch, &all, member, Step::Init { sole }).await.and_then(|done| Ok(done.found()?));
    order.concluded(made).await?.ok_or_else(|| Failure::new("the wrapping key was not made"))
}

/// CKA_ID of the wrapping key that the store's keys are under, if there is a store with keys.
async fn needed_wrapping_key(config: &Config) -> Result<Option<Vec<u8>>, Failure> {
    if !config.store.path.exists() {
        return Ok(None);
    }
    let deployment = open_store(config).await?.deployment().await.map_err(Failure::new)?;
    Ok(deployment.and_then(|deployment| match &deployment.newest_material().keeping {
        Keeping::Wrapped { wrapping_key, .. } => Some(wrapping_key.clone()),
        Keeping::Token { .. } => None,
    }))
}

fn lacks(config: &Config, member: &Settings, needed: &[u8]) -> Failure {
    let cka_id: String = needed.iter().map(|byte| format!("{byte:02x}")).collect();
    Failure::new(format!(
        "`{}` does not have the wrapping key that the keys in {} are wrapped under, CKA_ID {cka_id}: bring that one back from the \
         HSM's backup, or from another HSM with `strongroom hsm join`. Another key would open none of them; where nothing of them is \
         needed any more, begin with another store.path.",
        member.name,
        config.store.path.display()
    ))
}

/// Tries what an HSM can do.
///
/// # Errors
/// If it cannot be opened.
pub async fn probe(config: &Config, launch: &Launch, name: Option<&str>) -> Result<Profile, Failure> {
    let all = members(config)?;
    Ok(on(launch, &all, one(&all, name)?, Step::Probe).await?.probed()?)
}

/// Brings the wrapping key to the HSM called `to`, and says how that goes.
///
/// # Errors
/// Why it was not brought.
pub async fn join(
    config: &Config,
    launch: &Launch,
    to: &str,
    from: Option<&str>,
    so_pin: PinSource,
    say: impl Fn(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let all = members(config)?;
    let to = one(&all, Some(to))?;
    let from = match from {
        Some(name) => one(&all, Some(name))?,
        None => all.iter().find(|other| other.name != to.name).ok_or_else(|| Failure::new(NO_OTHER))?,
    };
    if from.name == to.name {
        return Err(Failure::new(NO_OTHER));
    }
    let show = |fingerprint: &str| {
        let text = format!("`{}` waits for the key under an RSA key of its own, SHA-256\n{fingerprint}\n", to.name);
        // Whoever does not read it still wants the key brought.
        let _ = say(&text);
    };
    let order = Order::of(config, "JoinHsm", json!({"hsm": to.name, "from": from.name})).await?;
    let joined = hsm::join(launch, from, to, so_pin, show).await.map_err(Failure::from);
    say(&match order.concluded(joined).await? {
        Joined::Now => format!(
            "`{}` has the wrapping key of `{}`. A service that runs takes it into use by itself.\n",
            to.name, from.name
        ),
        Joined::Already => format!("`{}` has joined already.\n", to.name),
    })
}

const NO_OTHER: &str = "a wrapping key is brought from another HSM: the configuration names it under [[hsm.further]]";

/// Forgets refused PINs, and says whether there were any.
///
/// # Errors
/// If the ledger of logins cannot be read or written.
pub async fn retry_pin(config: &Config, name: Option<&str>) -> Result<String, Failure> {
    let all = all_hsms(config)?;
    let chosen = match name {
        Some(_) => std::slice::from_ref(one(&all, name)?),
        None => &all,
    };
    let names: Vec<_> = chosen.iter().map(|member| &member.name).collect();
    let order = Order::of(config, "RetryPin", json!({"hsms": names})).await?;
    order.concluded(retry_pins(chosen)).await
}

fn retry_pins(chosen: &[Settings]) -> Result<String, Failure> {
    let mut text = String::new();
    for member in chosen {
        text += &match hsm::retry_pin(member)? {
            true => format!("`{}`: the refused PIN is forgotten, and will be tried once more\n", member.name),
            false => format!("`{}`: no PIN was refused\n", member.name),
        };
    }
    Ok(text)
}

/// Makes an access key; the deployment is founded if it is not.
///
/// # Errors
/// If no HSM has the wrapping key, or the store is another account's.
pub async fn create_access_key(config: &Config, launch: Launch, principal: &str) -> Result<Credentials, Failure> {
    let store = open_store(config).await?;
    let hsm = Hsm::open(members(config)?, Some(launch));
    let vault = Vault::new(hsm.clone());
    let made = async {
        hsm.opened(HSM_START).await?;
        found(&store, &hsm, &vault, &config.account, SystemClock.now()).await.map_err(Failure::new)?;
        admin(config, store)?.create_access_key(&vault, principal).await.map_err(Failure::new)
    };
    let made = made.await;
    // An HSM in the middle of a login is not left so.
    hsm.stop();
    hsm.stopped(HSM_STOP).await;
    made
}

/// Something that is done by an HSM. It is written down before, so that nothing is done unrecorded; and again if it fails.
struct Order {
    admin: Admin,
    name: &'static str,
    parameters: Value,
}

impl Order {
    async fn of(config: &Config, name: &'static str, parameters: Value) -> Result<Self, Failure> {
        let admin = admin(config, open_store(config).await?)?;
        admin.order(name, parameters.clone(), None).await.map_err(Failure::new)?;
        Ok(Self { admin, name, parameters })
    }

    async fn concluded<T>(self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &outcome {
            self.admin.order(self.name, self.parameters, Some(&failure.text)).await.map_err(Failure::new)?;
        }
        outcome
    }
}

/// The HSM of that name, or the first.
fn one<'a>(all: &'a [Settings], name: Option<&str>) -> Result<&'a Settings, Failure> {
    let found = all.iter().find(|member| name.is_none_or(|name| name == member.name));
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|member| member.name.as_str()).collect();
        Failure::new(format!("no HSM is called `{}`; there are {}", name.unwrap_or_default(), names.join(", ")))
    })
}

/// One step, and in its error the name of the HSM if there are several.
async fn on(launch: &Launch, all: &[Settings], member: &Settings, step: Step) -> Result<StepDone, Failure> {
    let done = hsm::step(launch, member, step).await;
    Ok(done.map_err(|error| if all.len() > 1 { error.of(&member.name) } else { error })?)
}
