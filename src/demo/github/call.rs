//! One request that is being answered: who asks, for what, of which repository; and what every operation
//! needs to answer it.

use jiff::Timestamp;
use serde_json::Value;

use super::Shared;
use super::access::{Grant, Kind};
use super::answer::{Page, Refusal, Reply};
use super::form::{Form, address};
use super::git::{Git, Signed};
use super::hooks;
use super::state::{IssueEvent, Pull, Repository, State};

/// Pages hold as many unless asked, and at most so many.
const PAGE: usize = 30;
const LARGEST_PAGE: usize = 100;

pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) state: &'a mut State,
    pub(super) grant: Grant,
    /// `owner/name` where the operation is about one.
    pub(super) name: String,
    /// What the placeholders of the path stand for, without owner and repository.
    pub(super) arguments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Value,
    /// Where it was asked: the root of the API, and the whole address without the query.
    pub(super) api: String,
    pub(super) url: String,
    pub(super) now: Timestamp,
}

impl Call<'_> {
    pub(super) fn form(&self) -> Form<'_> {
        Form {
            state: self.state,
            api: &self.api,
            site: &self.shared.site,
        }
    }

    /// The repository it is about.
    ///
    /// # Errors
    /// 404; never after the request's rights were checked.
    pub(super) fn repository(&self) -> Result<&Repository, Refusal> {
        self.state
            .repositories
            .get(&self.name)
            .ok_or_else(Refusal::not_found)
    }

    pub(super) fn repository_mut(&mut self) -> Result<&mut Repository, Refusal> {
        self.state
            .repositories
            .get_mut(&self.name)
            .ok_or_else(Refusal::not_found)
    }

    /// The pull request that the path's first placeholder numbers.
    pub(super) fn pull(&self) -> Result<&Pull, Refusal> {
        let number = self.number(0)?;
        let pull = self.repository()?.pulls.get(&number);
        pull.ok_or_else(Refusal::not_found)
    }

    pub(super) fn pull_mut(&mut self) -> Result<&mut Pull, Refusal> {
        let number = self.number(0)?;
        let pull = self.repository_mut()?.pulls.get_mut(&number);
        pull.ok_or_else(Refusal::not_found)
    }

    /// A placeholder that is a number.
    pub(super) fn number(&self, index: usize) -> Result<u64, Refusal> {
        let text = self.arguments.get(index).map_or("", String::as_str);
        text.parse().map_err(|_| Refusal::not_found())
    }

    pub(super) fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// A parameter of the query.
    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A text of the body.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.body[name].as_str().map(str::to_owned)
    }

    /// A text of the body that must be there.
    ///
    /// # Errors
    /// 422, as GitHub's check of parameters words it.
    pub(super) fn required(&self, name: &str) -> Result<String, Refusal> {
        self.text(name).filter(|it| !it.is_empty()).ok_or_else(|| {
            let message = format!("Invalid request.\n\n\"{name}\" wasn't supplied.");
            Refusal::new(422, message)
        })
    }

    /// The texts of a list in the body.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let list = self.body[name].as_array().into_iter().flatten();
        list.filter_map(|it| it.as_str().map(str::to_owned))
            .collect()
    }

    /// The part of the list that was asked for, with links to the others.
    pub(super) fn page<T>(&self, all: Vec<T>) -> (Vec<T>, Option<String>) {
        let number = |name: &str| self.asked(name).and_then(|it| it.parse::<usize>().ok());
        let page = Page {
            number: number("page").unwrap_or(1).max(1),
            size: number("per_page").unwrap_or(PAGE).clamp(1, LARGEST_PAGE),
        };
        let link = page.link(all.len(), &self.url, &self.query);
        (page.cut(all), link)
    }

    /// A list as most operations answer it.
    pub(super) fn listed<T>(
        &self,
        all: Vec<T>,
        form: impl FnMut(T) -> Value,
    ) -> Result<Reply, Refusal> {
        let (part, link) = self.page(all);
        let body = part.into_iter().map(form).collect();
        Ok(Reply {
            link,
            ..Reply::ok(body)
        })
    }

    /// The repository's git.
    pub(super) fn git(&self) -> Result<Git<'_>, Refusal> {
        Ok(Git(&self.repository()?.path))
    }

    /// Who asks, as git names them.
    pub(super) fn signed(&self) -> Signed {
        signed(self.state, &self.grant.login, self.now)
    }

    /// The installation that asks, where an app does.
    pub(super) fn installation(&self) -> Option<u64> {
        match self.grant.kind {
            Kind::Installation(id) => Some(id),
            _ => None,
        }
    }

    /// Writes down that something happened to the pull request.
    pub(super) fn note(
        &mut self,
        number: u64,
        kind: &'static str,
        about: Option<String>,
    ) -> Result<(), Refusal> {
        let event = IssueEvent {
            id: self.state.new_id(),
            actor: self.grant.login.clone(),
            kind,
            about,
            sha: None,
            at: self.now,
        };
        let now = self.now;
        if let Some(pull) = self.repository_mut()?.pulls.get_mut(&number) {
            pull.updated_at = now;
            pull.events.push(event);
        }
        Ok(())
    }

    /// Tells the webhooks of the repository.
    pub(super) fn tell(&mut self, event: &str, action: Option<&str>, payload: Value) {
        let about = hooks::About {
            repository: &self.name,
            sender: &self.grant.login,
            event,
            action,
        };
        hooks::tell(self.shared, self.state, &about, payload, self.now);
    }

    /// Tells them of a pull request.
    pub(super) fn tell_pull(&mut self, number: u64, action: &str, more: Value) {
        let (name, login) = (self.name.clone(), self.grant.login.clone());
        hooks::tell_pull(
            self.shared,
            self.state,
            (&name, number),
            (&login, action, more),
            self.now,
        );
    }
}

/// A user as git names them.
pub(super) fn signed(state: &State, login: &str, now: Timestamp) -> Signed {
    let email = state.users.get(login).map(address);
    Signed {
        name: login.to_owned(),
        email: email.unwrap_or_else(|| format!("{login}@users.noreply.github.com")),
        date: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

/// Who commits what is done on the site.
pub(super) fn site_committer(now: Timestamp) -> Signed {
    Signed {
        name: "GitHub".to_owned(),
        email: "noreply@github.com".to_owned(),
        date: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}
