//! The program: command line → configuration → what was asked for.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use strongroom::{
    cli::{
        AccessKeyVerb, CONFIG_FILE, CONFIG_VARIABLE, Cli, ClockVerb, ConfigVerb, DeletedKeyVerb, Dev, HsmVerb, Listing,
        PrincipalVerb, Verb, Which, manual, shown,
    },
    config::Config,
    dev::{self, Directory},
    hsm::{self, Launch, PinSource},
    server::{
        self, Entrance, Failure, FilterLog, Service, Source, Stop, Supervisor, descriptors, inspection, operator,
    },
};

/// How often a service that is not ready is asked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

fn main() {
    let Cli { verb } = Cli::parse();
    let filter_log = log(&verb);
    // Fewer will do: connections are bounded by what there is.
    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let outcome = harden().and_then(|()| {
        if let Verb::HsmWorker { .. } = verb {
            return hsm::serve_as_worker().map_err(Failure::new);
        }
        let runtime = server::runtime()?;
        let outcome = runtime.block_on(run(verb, filter_log));
        // A call that hangs in the HSM must not keep the program from ending.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => hsm::end_process(0),
        Err(Failure { text, exit }) => {
            eprintln!("strongroom: {text}");
            hsm::end_process(exit)
        }
    }
}

/// Logs go to standard error: JSON for a service, lines for a person. What succeeds, a verb's own output says.
fn log(verb: &Verb) -> FilterLog {
    let service = matches!(verb, Verb::Serve(_) | Verb::HsmWorker { json: true });
    let level = if matches!(verb, Verb::Serve(_) | Verb::HsmWorker { .. } | Verb::Dev(_)) { "info" } else { "warn" };
    let (filter, mistake) = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Err(_) => (EnvFilter::new(level), None),
        Ok(text) => match EnvFilter::try_new(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(level), Some(error)),
        },
    };
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // Colours are for people: a file would be full of escape sequences.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if service {
        subscriber.with(lines.json()).init()
    } else {
        subscriber.with(lines.with_ansi(colours).with_target(false)).init()
    }
    if let Some(error) = mistake {
        tracing::warn!(%error, "RUST_LOG is not understood; the log is as without it");
    }
    Box::new(move |filter| {
        if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
            return Ok(());
        }
        let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    })
}

/// No core dumps and no reading of this process's memory by others: plaintexts pass through it.
fn harden() -> Result<(), Failure> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(Failure::new)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Failure::new)
}

async fn run(verb: Verb, filter_log: FilterLog) -> Result<(), Failure> {
    match verb {
        Verb::Dev(arguments) => develop(arguments, filter_log).await,
        Verb::Serve(which) => {
            let (config, mut stop) = (configuration(&which)?, Stop::listen()?);
            filter_log(&config.log.filter).map_err(Failure::new)?;
            let service = stop.delay(server::open(&config, worker(true))).await?;
            let source = Source { read: Box::new(move || configuration(&which)), filter_log };
            let entrance = Entrance::open(&config, &service.kms).await?;
            serve("", config, service, entrance, source, stop).await
        }
        Verb::HsmWorker { .. } => Ok(()),
        Verb::Config(ConfigVerb::Check(which)) => check(&configuration(&which)?).await,
        Verb::Hsm(verb) => look_after_hsm(verb).await,
        Verb::AccessKey(verb) => look_after_access_keys(verb).await,
        Verb::Principal(verb) => look_after_principals(verb).await,
        Verb::DeletedKey(DeletedKeyVerb::List(Listing { which, json })) => {
            let tombstones = admin(&which).await?.tombstones().await.map_err(Failure::new)?;
            let keys: Vec<_> = tombstones.iter().map(shown::DeletedKey::from).collect();
            print_as(json, &keys, |keys| shown::deleted_keys(keys))
        }
        Verb::Clock(verb) => look_after_the_clock(verb).await,
        Verb::Completion { shell } => print(&String::from_utf8_lossy(&manual::completion(shell))),
        Verb::Man { directory } => {
            let failed = |error| Failure::new(format!("{}: {error}", directory.display()));
            manual::write(&directory).map_err(failed)
        }
    }
}

async fn develop(arguments: Dev, filter_log: FilterLog) -> Result<(), Failure> {
    let (directory, mut stop) = (Directory::make(&arguments.data)?, Stop::listen()?);
    let module = arguments.module.unwrap_or_else(|| dev::SOFTHSM2_MODULE.into());
    let mut config = directory.set_up(&module, &worker(false)).await?;
    config.listen_on(arguments.listen).map_err(Failure::new)?;
    let service = stop.delay(server::open(&config, worker(false))).await?;
    service.insist_on_hsm().await?;
    let administrator = directory.administrator(&service).await?;
    if let Some(path) = arguments.seed {
        let seed = dev::read_seed(&path)?;
        for what in &seed.left {
            eprintln!("strongroom: {}: left out: {what}", path.display());
        }
        let planted = service.kms.plant(&service.admin, &service.vault, seed, &arguments.region).await;
        planted.map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    }
    let entrance = Entrance::open(&config, &service.kms).await?;
    print(&dev::shell_lines(&entrance.url(), &arguments.region, &administrator))?;
    let read = move || {
        let mut config = directory.config()?;
        config.listen_on(arguments.listen).map_err(Failure::new)?;
        Ok(config)
    };
    // Whoever pastes the lines above pastes what comes now, too.
    serve("# ", config, service, entrance, Source { read: Box::new(read), filter_log }, stop).await
}

/// Says that it serves, in a line that begins so, and serves.
async fn serve(
    beginning: &str,
    config: Config,
    service: Service,
    entrance: Entrance,
    source: Source,
    stop: Stop,
) -> Result<(), Failure> {
    announce(beginning, &entrance, &service).await?;
    let supervisor = Arc::new(Supervisor::of_environment());
    supervisor.ready();
    server::serve(config, service, entrance, source, supervisor, stop).await;
    Ok(())
}

/// The ready line behind `mark`, now or when the service is ready; from here on connections are answered.
async fn announce(mark: &str, entrance: &Entrance, service: &Service) -> Result<(), Failure> {
    let ready = format!("{mark}strongroom is ready on {}\n", entrance.url());
    let Err(why) = service.kms.ready().await else { return print(&ready) };
    print(&format!("{mark}strongroom listens on {} and is not ready: {why}\n", entrance.url()))?;
    let kms = Arc::clone(&service.kms);
    tokio::spawn(async move {
        while kms.ready().await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let _ = print(&ready);
    });
    Ok(())
}

/// How this program is started as a worker process of an HSM: the very file that runs, also when another lies there now.
fn worker(json: bool) -> Launch {
    let arguments = ["hsm-worker"].into_iter().chain(json.then_some("--json"));
    Launch { program: "/proc/self/exe".into(), arguments: arguments.map(str::to_owned).collect() }
}

fn configuration(which: &Which) -> Result<Config, Failure> {
    match (&which.config, &which.data) {
        (Some(file), _) => Config::read(file).map_err(Failure::new),
        (None, Some(directory)) => Directory::enter(directory)?.config(),
        (None, None) => Config::read(&configuration_file()?).map_err(Failure::new),
    }
}

/// The configuration file where the command line names none.
fn configuration_file() -> Result<PathBuf, Failure> {
    if let Some(file) = std::env::var_os(CONFIG_VARIABLE).filter(|file| !file.is_empty()) {
        return Ok(file.into());
    }
    let usual = Path::new(CONFIG_FILE);
    let missing = || {
        let text = format!(
            "no configuration: name a file by --config or {CONFIG_VARIABLE}, or put one at {CONFIG_FILE}; or name a \
             development directory by --data"
        );
        Failure::new(text)
    };
    if usual.exists() { Ok(usual.to_owned()) } else { Err(missing()) }
}

/// What is in effect, and what was found out about what it names.
async fn check(config: &Config) -> Result<(), Failure> {
    print(&format!("{}\n", config.effective()))?;
    let findings = inspection::inspect(config).await;
    findings.iter().for_each(|finding| eprintln!("{finding}"));
    match findings.iter().filter(|finding| finding.is_wrong).count() {
        0 => Ok(()),
        1 => Err(Failure::new("one thing is wrong")),
        wrong => Err(Failure::new(format!("{wrong} things are wrong"))),
    }
}

async fn look_after_hsm(verb: HsmVerb) -> Result<(), Failure> {
    match verb {
        HsmVerb::Init { which, member, sole } => {
            let report = operator::init(&configuration(&which)?, &worker(false), member.as_deref(), sole).await?;
            print(&format!("{report}\n"))
        }
        HsmVerb::Join { which, member, from, so_pin_file } => {
            let (config, so_pin) = (configuration(&which)?, PinSource::File(so_pin_file));
            operator::join(&config, &worker(false), &member, from.as_deref(), so_pin, print).await
        }
        HsmVerb::RetryPin { which, member } => {
            print(&operator::retry_pin(&configuration(&which)?, member.as_deref()).await?)
        }
        HsmVerb::Probe { member, listing: Listing { which, json } } => {
            let profile = operator::probe(&configuration(&which)?, &worker(false), member.as_deref()).await?;
            print_as(json, &profile, ToString::to_string)
        }
    }
}

async fn look_after_access_keys(verb: AccessKeyVerb) -> Result<(), Failure> {
    match verb {
        AccessKeyVerb::Create { which, principal } => {
            let made = operator::create_access_key(&configuration(&which)?, worker(false), &principal).await?;
            print(&shown::credentials(&made))
        }
        AccessKeyVerb::List(Listing { which, json }) => {
            let keys = admin(&which).await?.access_keys().await.map_err(Failure::new)?;
            print_as(json, &keys, |keys| shown::access_keys(keys))
        }
        AccessKeyVerb::Disable { which, id } => {
            admin(&which).await?.disable_access_key(&id).await.map_err(Failure::new)?;
            print(&format!("access key {id} is disabled\n"))
        }
        AccessKeyVerb::Delete { which, id } => {
            admin(&which).await?.delete_access_key(&id).await.map_err(Failure::new)?;
            print(&format!("access key {id} is deleted\n"))
        }
    }
}

async fn look_after_principals(verb: PrincipalVerb) -> Result<(), Failure> {
    match verb {
        PrincipalVerb::Create { which, name } => {
            let made = admin(&which).await?.create_principal(&name, Default::default()).await;
            print(&format!("{}\n", made.map_err(Failure::new)?))
        }
        PrincipalVerb::List(Listing { which, json }) => {
            print_as(json, &admin(&which).await?.principals(), |all| shown::principals(all))
        }
        PrincipalVerb::Show { name, listing: Listing { which, json } } => {
            let (summary, policy_documents) = admin(&which).await?.show_principal(&name).map_err(Failure::new)?;
            print_as(json, &shown::Principal { summary, policy_documents }, shown::principal)
        }
        PrincipalVerb::AttachPolicy { which, name, policy } => attach_policy(&which, &name, &policy).await,
        PrincipalVerb::DetachPolicy { which, name, policy } => {
            admin(&which).await?.detach_policy(&name, &policy).await.map_err(Failure::new)?;
            print(&format!("policy {policy} is detached from {name}\n"))
        }
        PrincipalVerb::Delete { which, name } => {
            let deleted = admin(&which).await?.delete_principal(&name).await.map_err(Failure::new)?;
            print(&format!("{deleted} is deleted\n"))
        }
    }
}

async fn attach_policy(which: &Which, name: &str, file: &Path) -> Result<(), Failure> {
    let unreadable = |error| Failure::new(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let policy_name = file.file_stem().unwrap_or_default().to_string_lossy();
    let before = admin(which).await?.attach_policy(name, &policy_name, &text).await.map_err(Failure::new)?;
    print(&shown::attached(&policy_name, name, before.as_deref(), &text))
}

async fn look_after_the_clock(verb: ClockVerb) -> Result<(), Failure> {
    match verb {
        ClockVerb::Show(which) => {
            let heartbeat = admin(&which).await?.heartbeat().await;
            print(&shown::clock(heartbeat.map_err(Failure::new)?))
        }
        ClockVerb::Confirm(which) => {
            let jump = admin(&which).await?.confirm_clock().await;
            print(&shown::confirmed(jump.map_err(Failure::new)?))
        }
    }
}

async fn admin(which: &Which) -> Result<strongroom::kms::admin::Admin, Failure> {
    let config = configuration(which)?;
    let store = server::open_store(&config).await?;
    server::admin(&config, store)
}

/// JSON for programs, and what `show` makes of it for people.
fn print_as<T: serde::Serialize>(json: bool, value: &T, show: impl Fn(&T) -> String) -> Result<(), Failure> {
    let text = if json { shown::json(value).map_err(Failure::new)? } else { show(value) };
    print(&text)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::new)
}
