//! The program: command line → configuration → verb.
//!
//! The program ends by `_exit`: exit handlers of a PKCS#11 module may crash under the threads that the module still has.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use strongroom::{
    bench::{self, PlotFile},
    cli::{
        AccessKeyVerb, CONFIG_FILE, CONFIG_VARIABLE, Cli, ClockVerb, ConfigVerb, DeletedKeyVerb, DeploymentArgs,
        DevArgs, HsmVerb, ListArgs, PrincipalVerb, Verb,
        bench::{BenchArgs, BenchOutput, HsmBenchArgs},
        manual, output,
    },
    config::Config,
    dev::{self, Directory},
    hsm::{self, Launch, PinSource},
    server::{
        self, ExitError, Listener, ReloadSignal, ReloadSource, Service, ServiceManager, SetLogFilter, ShutdownSignal,
        file_descriptors,
        operator::{self, config_check},
    },
};

/// How often a service that is not ready yet is looked at.
const READINESS_PERIOD: Duration = Duration::from_millis(200);

fn main() {
    let Cli { verb } = Cli::parse();
    let set_log_filter = init_log(&verb);
    // The service runs with fewer, too: the limit of connections follows that of open files.
    if let Err(error) = file_descriptors::raise_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let outcome = harden().and_then(|()| {
        if let Verb::HsmWorker { .. } = verb {
            return hsm::serve_as_worker().map_err(ExitError::new);
        }
        let runtime = server::runtime()?;
        let outcome = runtime.block_on(run(verb, set_log_filter));
        // A call that hangs in the HSM must not keep the program from ending.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => hsm::end_process(0),
        Err(ExitError { text, exit }) => {
            eprintln!("strongroom: {text}");
            hsm::end_process(exit)
        }
    }
}

/// Sends the log to standard error: JSON for a service, lines for a person. Verbs log warnings and errors only, for their output
/// tells of success. Answers how the filter can be set later.
fn init_log(verb: &Verb) -> SetLogFilter {
    let is_service = matches!(verb, Verb::Serve(_) | Verb::HsmWorker { json: true });
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
    if is_service {
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
fn harden() -> Result<(), ExitError> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(ExitError::new)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(ExitError::new)
}

async fn run(verb: Verb, set_log_filter: SetLogFilter) -> Result<(), ExitError> {
    match verb {
        Verb::Dev(arguments) => serve_for_development(arguments, set_log_filter).await,
        Verb::Serve(deployment) => serve_deployment(deployment, set_log_filter).await,
        Verb::Bench(arguments) => bench_server(&arguments).await,
        Verb::HsmWorker { .. } => Ok(()),
        Verb::Config(ConfigVerb::Check(deployment)) => check_config(&configuration(&deployment)?).await,
        Verb::Hsm(verb) => run_hsm_verb(verb).await,
        Verb::AccessKey(verb) => run_access_key_verb(verb).await,
        Verb::Principal(verb) => run_principal_verb(verb).await,
        Verb::DeletedKey(DeletedKeyVerb::List(ListArgs { deployment, json })) => {
            let tombstones = admin(&deployment).await?.tombstones().await.map_err(ExitError::new)?;
            let keys: Vec<_> = tombstones.iter().map(output::DeletedKey::from).collect();
            print_as(json, &keys, |keys| output::deleted_keys(keys))
        }
        Verb::Clock(verb) => run_clock_verb(verb).await,
        Verb::Completion { shell } => print(&String::from_utf8_lossy(&manual::completion(shell))),
        Verb::Man { directory } => {
            let failed = |error| ExitError::new(format!("{}: {error}", directory.display()));
            manual::write(&directory).map_err(failed)
        }
    }
}

async fn serve_deployment(deployment: DeploymentArgs, set_log_filter: SetLogFilter) -> Result<(), ExitError> {
    let config = configuration(&deployment)?;
    let (mut shutdown, signal) = (ShutdownSignal::listen()?, ReloadSignal::listen()?);
    set_log_filter(&config.log.filter).map_err(ExitError::new)?;
    let service = shutdown.delayed_by(server::start(&config, worker(true))).await?;
    let source = ReloadSource { signal, read: Box::new(move || configuration(&deployment)), set_log_filter };
    let listener = Listener::open(&config, &service.kms).await?;
    serve("", config, service, listener, source, shutdown).await
}

async fn serve_for_development(arguments: DevArgs, set_log_filter: SetLogFilter) -> Result<(), ExitError> {
    let directory = Directory::make(&arguments.data)?;
    let (mut shutdown, signal) = (ShutdownSignal::listen()?, ReloadSignal::listen()?);
    let module = arguments.module.unwrap_or_else(|| dev::SOFTHSM2_MODULE.into());
    let mut config = directory.set_up(&module, &worker(false)).await?;
    config.listen_on(arguments.listen).map_err(ExitError::new)?;
    let service = shutdown.delayed_by(server::start(&config, worker(false))).await?;
    service.wait_for_hsm().await?;
    let administrator = directory.administrator(&service).await?;
    if let Some(path) = arguments.seed {
        let seed = dev::read_seed(&path)?;
        for what in &seed.left {
            eprintln!("strongroom: {}: left out: {what}", path.display());
        }
        let planted = service.kms.plant(&service.admin, &service.vault, seed, &arguments.region).await;
        planted.map_err(|error| ExitError::new(format!("{}: {error}", path.display())))?;
    }
    let listener = Listener::open(&config, &service.kms).await?;
    print(&dev::shell_lines(&listener.url(), &arguments.region, &administrator))?;
    let read = move || {
        let mut config = directory.config()?;
        config.listen_on(arguments.listen).map_err(ExitError::new)?;
        Ok(config)
    };
    // The ready line is a comment, for it is pasted into the shell with the lines above.
    let source = ReloadSource { signal, read: Box::new(read), set_log_filter };
    serve("# ", config, service, listener, source, shutdown).await
}

/// Prints the ready line with this beginning, and serves.
async fn serve(
    beginning: &str,
    config: Config,
    service: Service,
    listener: Listener,
    source: ReloadSource,
    shutdown: ShutdownSignal,
) -> Result<(), ExitError> {
    announce(beginning, &listener, &service).await?;
    let manager = Arc::new(ServiceManager::of_environment());
    manager.ready();
    server::serve(config, service, listener, source, manager, shutdown).await;
    Ok(())
}

/// Prints the ready line behind `mark`, now or as soon as the service is ready.
async fn announce(mark: &str, listener: &Listener, service: &Service) -> Result<(), ExitError> {
    let ready = format!("{mark}strongroom is ready on {}\n", listener.url());
    let Err(why) = service.kms.ready().await else { return print(&ready) };
    print(&format!("{mark}strongroom listens on {} and is not ready: {why}\n", listener.url()))?;
    let kms = Arc::clone(&service.kms);
    tokio::spawn(async move {
        while kms.ready().await.is_err() {
            tokio::time::sleep(READINESS_PERIOD).await;
        }
        let _ = print(&ready);
    });
    Ok(())
}

/// The command that starts this program as the worker process of an HSM: the same file, also if it was replaced meanwhile.
fn worker(json: bool) -> Launch {
    let arguments = ["hsm-worker"].into_iter().chain(json.then_some("--json"));
    Launch::Program { program: "/proc/self/exe".into(), arguments: arguments.map(str::to_owned).collect() }
}

fn configuration(deployment: &DeploymentArgs) -> Result<Config, ExitError> {
    match (&deployment.config, &deployment.data) {
        (Some(file), _) => Config::read(file).map_err(ExitError::new),
        (None, Some(directory)) => Directory::enter(directory)?.config(),
        (None, None) => Config::read(&configuration_file()?).map_err(ExitError::new),
    }
}

/// The configuration file where the command line names none.
fn configuration_file() -> Result<PathBuf, ExitError> {
    if let Some(file) = std::env::var_os(CONFIG_VARIABLE).filter(|file| !file.is_empty()) {
        return Ok(file.into());
    }
    let usual = Path::new(CONFIG_FILE);
    let missing = || {
        let text = format!(
            "no configuration: name a file by --config or {CONFIG_VARIABLE}, or put one at {CONFIG_FILE}; or name a \
             development directory by --data"
        );
        ExitError::new(text)
    };
    if usual.exists() { Ok(usual.to_owned()) } else { Err(missing()) }
}

/// Prints the configuration that is in effect, and the findings of its check.
async fn check_config(config: &Config) -> Result<(), ExitError> {
    print(&format!("{}\n", config.effective()))?;
    let findings = config_check::check(config).await;
    findings.iter().for_each(|finding| eprintln!("{finding}"));
    match findings.iter().filter(|finding| finding.is_wrong).count() {
        0 => Ok(()),
        1 => Err(ExitError::new("one thing is wrong")),
        wrong => Err(ExitError::new(format!("{wrong} things are wrong"))),
    }
}

async fn run_hsm_verb(verb: HsmVerb) -> Result<(), ExitError> {
    match verb {
        HsmVerb::Init { deployment, member, sole } => {
            let report =
                operator::hsm::init(&configuration(&deployment)?, &worker(false), member.as_deref(), sole).await?;
            print(&format!("{report}\n"))
        }
        HsmVerb::Join { deployment, member, from, so_pin_file } => {
            let config = configuration(&deployment)?;
            let so_pin = PinSource::File(so_pin_file);
            operator::hsm::join(&config, &worker(false), &member, from.as_deref(), so_pin, print).await
        }
        HsmVerb::RetryPin { deployment, member } => {
            print(&operator::hsm::retry_pin(&configuration(&deployment)?, member.as_deref()).await?)
        }
        HsmVerb::Probe { member, list: ListArgs { deployment, json } } => {
            let profile = operator::hsm::probe(&configuration(&deployment)?, &worker(false), member.as_deref()).await?;
            print_as(json, &profile, ToString::to_string)
        }
        HsmVerb::Bench(arguments) => bench_hsm(&arguments).await,
    }
}

async fn bench_server(arguments: &BenchArgs) -> Result<(), ExitError> {
    let BenchOutput { plot, json, .. } = &arguments.output;
    let plot = plot.as_deref().map(PlotFile::create).transpose()?;
    let report = bench::server::measure(arguments).await?;
    plot.map_or(Ok(()), |plot| plot.write(&report.plot()))?;
    print_as(*json, &report, bench::server::Report::table)
}

async fn bench_hsm(arguments: &HsmBenchArgs) -> Result<(), ExitError> {
    let config = configuration(&arguments.deployment)?;
    let settings = operator::hsm::settings(&config, arguments.member.as_deref())?;
    let deadline = Duration::from_millis(config.hsm.deadline_ms);
    let BenchOutput { plot, json, .. } = &arguments.output;
    let plot = plot.as_deref().map(PlotFile::create).transpose()?;
    let report =
        bench::hsm::measure(&bench::hsm::Target { settings, launch: worker(false), deadline }, arguments).await?;
    plot.map_or(Ok(()), |plot| plot.write(&report.plot()))?;
    print_as(*json, &report, bench::hsm::Report::table)
}

async fn run_access_key_verb(verb: AccessKeyVerb) -> Result<(), ExitError> {
    match verb {
        AccessKeyVerb::Create { deployment, principal } => {
            let made =
                operator::hsm::create_access_key(&configuration(&deployment)?, worker(false), &principal).await?;
            print(&output::credentials(&made))
        }
        AccessKeyVerb::List(ListArgs { deployment, json }) => {
            let keys = admin(&deployment).await?.access_keys().await.map_err(ExitError::new)?;
            print_as(json, &keys, |keys| output::access_keys(keys))
        }
        AccessKeyVerb::Disable { deployment, id } => {
            admin(&deployment).await?.disable_access_key(&id).await.map_err(ExitError::new)?;
            print(&format!("access key {id} is disabled\n"))
        }
        AccessKeyVerb::Delete { deployment, id } => {
            admin(&deployment).await?.delete_access_key(&id).await.map_err(ExitError::new)?;
            print(&format!("access key {id} is deleted\n"))
        }
    }
}

async fn run_principal_verb(verb: PrincipalVerb) -> Result<(), ExitError> {
    match verb {
        PrincipalVerb::Create { deployment, name } => {
            let made = admin(&deployment).await?.create_principal(&name, Default::default()).await;
            print(&format!("{}\n", made.map_err(ExitError::new)?))
        }
        PrincipalVerb::List(ListArgs { deployment, json }) => {
            print_as(json, &admin(&deployment).await?.principals(), |all| output::principals(all))
        }
        PrincipalVerb::Show { name, list: ListArgs { deployment, json } } => {
            let (summary, policy_documents) =
                admin(&deployment).await?.show_principal(&name).map_err(ExitError::new)?;
            print_as(json, &output::PrincipalDetails { summary, policy_documents }, output::principal)
        }
        PrincipalVerb::AttachPolicy { deployment, name, policy } => attach_policy(&deployment, &name, &policy).await,
        PrincipalVerb::DetachPolicy { deployment, name, policy } => {
            admin(&deployment).await?.detach_policy(&name, &policy).await.map_err(ExitError::new)?;
            print(&format!("policy {policy} is detached from {name}\n"))
        }
        PrincipalVerb::Delete { deployment, name } => {
            let deleted = admin(&deployment).await?.delete_principal(&name).await.map_err(ExitError::new)?;
            print(&format!("{deleted} is deleted\n"))
        }
    }
}

async fn attach_policy(deployment: &DeploymentArgs, name: &str, file: &Path) -> Result<(), ExitError> {
    let unreadable = |error| ExitError::new(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let policy_name = file.file_stem().unwrap_or_default().to_string_lossy();
    let before = admin(deployment).await?.attach_policy(name, &policy_name, &text).await.map_err(ExitError::new)?;
    print(&output::attached(&policy_name, name, before.as_deref(), &text))
}

async fn run_clock_verb(verb: ClockVerb) -> Result<(), ExitError> {
    match verb {
        ClockVerb::Show(deployment) => {
            let heartbeat = admin(&deployment).await?.heartbeat().await;
            print(&output::clock(heartbeat.map_err(ExitError::new)?))
        }
        ClockVerb::Confirm(deployment) => {
            let jump = admin(&deployment).await?.confirm_clock().await;
            print(&output::confirmed(jump.map_err(ExitError::new)?))
        }
    }
}

async fn admin(deployment: &DeploymentArgs) -> Result<strongroom::kms::admin::Admin, ExitError> {
    let config = configuration(deployment)?;
    let store = server::open_store(&config).await?;
    server::admin(&config, store)
}

/// Prints a value: as JSON for programs, or as the text that `show` makes of it for people.
fn print_as<T: serde::Serialize>(json: bool, value: &T, show: impl Fn(&T) -> String) -> Result<(), ExitError> {
    let text = if json { output::json(value).map_err(ExitError::new)? } else { show(value) };
    print(&text)
}

fn print(text: &str) -> Result<(), ExitError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(ExitError::new)
}
