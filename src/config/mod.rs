//! The configuration: files into a checked [`Config`], with every mistake reported at once.
//!
//! The way of a file: [`files`] reads the folder; `yaml` makes nodes that know their place;
//! `section` and `form` read them with the functions of `environment`, `application` and `settings`,
//! which are at once the JSON Schemas ([`schema`]); `check` judges what files mean to each other;
//! `resolve` makes one [`Pipeline`] per application. [`watch`] says when to read again.
//!
//! Owns the form of the files and their defaults. Never dials out, never reads a secret, never looks
//! into a repository: what only the outside world can tell is told by the rounds that look at it.

mod application;
mod authority;
mod check;
mod cluster;
mod collide;
mod commit;
mod credential;
mod duration;
mod environment;
mod evidence;
pub mod files;
mod forge;
mod form;
mod health_rule;
mod judging;
mod label;
mod list;
mod location;
mod notifications;
mod problem;
mod request;
mod resolve;
pub mod schema;
mod section;
mod settings;
mod sops;
mod stops;
pub mod teams;
mod terms;
mod tunables;
mod via;
pub mod watch;
mod webhooks;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub use commit::CommitSettings;
pub use duration::in_words;
pub use forge::{AppSettings, ForgeSettings};
pub use form::Effective;
pub use location::{InvalidLocation, Location};
pub(crate) use problem::nearest;
pub use problem::{Place, Problem, Problems, Severity};
pub use settings::{Poll, RegistrySettings, Settings, default_cache};
pub use via::CommitVia;

use crate::model::{ApplicationName, EnvironmentName, Member, Pipeline, TeamName};
use form::Reading;

/// A configuration without mistakes.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What holds for the whole process.
    pub settings: Settings,
    /// One pipeline per application, by name.
    pub pipelines: Vec<Arc<Pipeline>>,
    /// Every environment, upstream first, also those that no application runs in.
    pub environments: Vec<EnvironmentName>,
    /// Who is in the teams that are listed.
    pub teams: BTreeMap<TeamName, Vec<Member>>,
    /// What probably says something else than was meant.
    pub warnings: Vec<Problem>,
    stated: Stated,
}

/// What the files say key by key, with places.
#[derive(Debug, Clone, Default, PartialEq)]
struct Stated {
    settings: Vec<Effective>,
    environments: BTreeMap<EnvironmentName, Vec<Effective>>,
    applications: BTreeMap<ApplicationName, Vec<Effective>>,
}

impl Config {
    /// Whether both say the same, wherever it stands.
    pub fn says_same(&self, other: &Self) -> bool {
        self.settings == other.settings && self.pipelines == other.pipelines
    }

    /// Forgets what only people ask for: where each value stands, and what was warned of. A loop that
    /// runs for weeks needs neither.
    pub fn forget_places(&mut self) {
        self.stated = Stated::default();
        self.warnings = Vec::new();
    }

    /// Reads the folder `directory` and everything in it that is configuration.
    ///
    /// # Errors
    /// Every mistake in it, also files that cannot be read.
    pub fn load(directory: &Path) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let files = files::read(directory, &mut problems);
        Self::build(directory, &files, problems)
    }

    /// Makes a configuration of files, each with its path from the configuration's folder. Pure:
    /// relative paths within stay relative to the working directory.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn parse(files: &[(PathBuf, Vec<u8>)]) -> Result<Self, Problems> {
        Self::build(Path::new(""), files, Problems::default())
    }

    /// Every value that holds for an application in an environment, with its place, in the order of
    /// [`schema`]. Empty where the application does not run there.
    pub fn effective(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Vec<Effective> {
        let pipeline = self
            .pipelines
            .iter()
            .find(|pipeline| pipeline.application.name == *application);
        let Some(resolved) = pipeline.and_then(|pipeline| pipeline.environment(environment)) else {
            return Vec::new();
        };
        let nothing = Vec::new();
        let of_environment = self
            .stated
            .environments
            .get(environment)
            .unwrap_or(&nothing);
        let of_application = self
            .stated
            .applications
            .get(application)
            .unwrap_or(&nothing);
        resolve::effective(resolved, application, of_environment, of_application)
    }

    /// Every value of the settings, with its place.
    pub fn effective_settings(&self) -> &[Effective] {
        &self.stated.settings
    }

    fn build(
        root: &Path,
        files: &[(PathBuf, Vec<u8>)],
        problems: Problems,
    ) -> Result<Self, Problems> {
        let mut declarations = Declarations::read(root, files, problems);
        check::all(root, &mut declarations);
        let units = resolve::units(root, &declarations);
        let mut found = Problems::default();
        collide::all(&units, &mut found);
        via::hosts_are_github(&declarations.committing, &units, &mut found);
        evidence::checks_have_a_forge(&units, &mut found);
        let pipelines = resolve::pipelines(&units, &declarations);
        let environments = resolve::in_order(&declarations);
        let Declarations {
            settings,
            mut problems,
            stated,
            teams,
            ..
        } = declarations;
        problems.append(found);
        let warnings = problems.settle()?;
        match (settings, pipelines) {
            (Some(settings), Some(pipelines)) => Ok(Self {
                settings: settings.rooted(root),
                pipelines,
                environments,
                teams: teams.by_name(),
                warnings,
                stated,
            }),
            _ => Err(Problems::unexplained(root)),
        }
    }
}

/// What the files state, each judged alone.
struct Declarations {
    settings: Option<Settings>,
    /// The environments that notifications name.
    notified: Vec<form::At<EnvironmentName>>,
    /// The hosts on which GitHub makes the commits.
    committing: via::Committing,
    /// Every environment that has a folder, also one whose file is not readable (`None`).
    environments: BTreeMap<EnvironmentName, EnvironmentFile>,
    applications: Vec<application::Declared>,
    teams: teams::Teams,
    /// Whether there may be applications that are not known, because a file is not readable.
    incomplete: bool,
    problems: Problems,
    stated: Stated,
}

struct EnvironmentFile {
    place: Place,
    declared: Option<environment::Declared>,
}

impl Declarations {
    fn read(root: &Path, files: &[(PathBuf, Vec<u8>)], problems: Problems) -> Self {
        let mut this = Self {
            settings: None,
            notified: Vec::new(),
            committing: via::Committing::new(),
            environments: BTreeMap::new(),
            applications: Vec::new(),
            teams: teams::Teams::default(),
            // What could not be read may hold anything.
            incomplete: problems.errors() > 0,
            problems,
            stated: Stated::default(),
        };
        for (path, bytes) in files {
            let shown: Arc<Path> = root.join(path).into();
            match Role::of(path) {
                Role::Settings => this.settings(&shown, bytes),
                Role::Environment(folder) => this.environment(&folder, &shown, bytes),
                Role::Applications => this.applications(&shown, bytes),
                Role::Teams => {
                    let (teams, _) = this.file(&shown, bytes, &teams::file());
                    this.teams = teams.unwrap_or_default();
                }
                Role::Misnamed(name) => {
                    let what = "this file is not read under this name";
                    let instead = format!("rename it to `{name}`");
                    this.problems.error(&Place::whole(shown), what, instead);
                }
                Role::None => {
                    let what = "this file is not read";
                    let instead = "configuration is `towpath.yaml`, `teams.yaml`, `<environment>/environment.yaml` and `applications/*.yaml`; move it elsewhere";
                    this.problems.warning(&Place::whole(shown), what, instead);
                }
            }
        }
        if !files
            .iter()
            .any(|(path, _)| Role::of(path) == Role::Settings)
        {
            this.settings(&root.join(files::SETTINGS).into(), b"");
        }
        this
    }

    fn settings(&mut self, file: &Arc<Path>, bytes: &[u8]) {
        let (settings, reading) = self.file(file, bytes, &settings::file());
        let (settings, named) = settings.unzip();
        let settings::Named {
            notified,
            committing,
        } = named.unwrap_or_default();
        (self.notified, self.committing) = (notified, committing);
        self.settings = settings;
        self.stated.settings = reading;
    }

    fn environment(&mut self, folder: &str, file: &Arc<Path>, bytes: &[u8]) {
        let (declared, values) = self.file(file, bytes, &environment::file());
        match folder.parse::<EnvironmentName>() {
            Ok(name) => {
                let place = Place::whole(file.clone());
                self.stated.environments.insert(name.clone(), values);
                self.environments.insert(name, EnvironmentFile { place, declared });
            }
            Err(_) => self.problems.error(
                &Place::whole(file.clone()),
                format!("the folder {} cannot name an environment", problem::quote(folder)),
                "use 1 to 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit",
            ),
        }
    }

    fn applications(&mut self, file: &Arc<Path>, bytes: &[u8]) {
        let before = self.problems.errors();
        let (declared, values) = self.file(file, bytes, &application::file());
        self.incomplete |= self.problems.errors() > before;
        for application in declared.into_iter().flatten() {
            let prefix = format!("{}.", application.key);
            let own = values.iter().filter_map(|value| {
                let key = value.key.strip_prefix(&prefix)?.to_owned();
                Some(Effective {
                    key,
                    ..value.clone()
                })
            });
            self.stated
                .applications
                .insert(application.name.value.clone(), own.collect());
            self.applications.push(application);
        }
    }

    fn file<T>(
        &mut self,
        file: &Arc<Path>,
        bytes: &[u8],
        form: &section::Fields<T>,
    ) -> (Option<T>, Vec<Effective>) {
        let mut reading = Reading::default();
        let root = yaml::parse(file, bytes, &mut reading.problems);
        let value = root.and_then(|root| form.read_file(&root, &mut reading));
        self.problems.append(reading.problems);
        (value, reading.values)
    }
}

/// What a file is for, by its path from the configuration's folder.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    Settings,
    Environment(String),
    Applications,
    Teams,
    /// It would have a role under this name.
    Misnamed(&'static str),
    None,
}

impl Role {
    fn of(path: &Path) -> Self {
        let parts: Option<Vec<&str>> = path
            .components()
            .map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            })
            .collect();
        match parts.as_deref() {
            Some([files::SETTINGS]) => Self::Settings,
            Some(["towpath.yml"]) => Self::Misnamed(files::SETTINGS),
            Some([files::TEAMS]) => Self::Teams,
            Some(["teams.yml"]) => Self::Misnamed(files::TEAMS),
            Some([files::APPLICATIONS, name]) if files::is_yaml(name) => Self::Applications,
            Some([folder, files::ENVIRONMENT]) => Self::Environment((*folder).to_owned()),
            Some([_, "environment.yml"]) => Self::Misnamed(files::ENVIRONMENT),
            _ => Self::None,
        }
    }
}
