//! Deployments and their statuses ([API](https://docs.github.com/en/rest/deployments)).

use serde_json::{Value, json};

use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::form::node;
use super::merge;
use super::state::{Deployment, DeploymentStatus};

const STATES: [&str; 7] = [
    "error",
    "failure",
    "inactive",
    "in_progress",
    "queued",
    "pending",
    "success",
];

pub(super) fn list(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let same = |name: &str, value: &str| call.asked(name).is_none_or(|it| it == value);
    let fits = |it: &&Deployment| {
        same("sha", &it.sha)
            && same("ref", &it.reference)
            && same("task", &it.task)
            && same("environment", &it.environment)
    };
    let all = repository.deployments.values().rev();
    let newest: Vec<&Deployment> = all.filter(fits).collect();
    call.listed(newest, |it| shown(call, it))
}

pub(super) fn get(call: &Call<'_>) -> Answer {
    Ok(Reply::ok(shown(call, one(call)?)))
}

fn one<'a>(call: &'a Call<'_>) -> Result<&'a Deployment, Refusal> {
    let found = call.repository()?.deployments.get(&call.number(0)?);
    found.ok_or_else(Refusal::not_found)
}

pub(super) async fn create(call: &mut Call<'_>) -> Answer {
    let reference = call.required("ref")?;
    let Some(sha) = call.git()?.resolve(&reference).await else {
        return Err(Refusal::new(422, format!("No ref found for: {reference}")));
    };
    // Without a list every status and check must be good; an empty one asks for none.
    let named = call.body["required_contexts"].as_array().cloned();
    let repository = call.repository()?;
    let wanted: Vec<String> = match named {
        Some(named) => named
            .iter()
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect(),
        None => {
            let statuses = repository.statuses.get(&sha).into_iter().flatten();
            statuses.map(|it| it.context.clone()).collect()
        }
    };
    if let Some(bad) = wanted
        .into_iter()
        .map(|context| (context, None))
        .find(|check| !merge::passed(repository, &sha, check))
    {
        let message = format!(
            "Conflict: Commit status checks failed for {reference}: {}",
            bad.0
        );
        return Err(Refusal::new(409, message));
    }
    let environment = call.text("environment");
    let environment = environment.unwrap_or_else(|| "production".to_owned());
    let production = call.body["production_environment"].as_bool();
    let payload = match &call.body["payload"] {
        Value::Null => json!({}),
        payload => payload.clone(),
    };
    let deployment = Deployment {
        id: call.state.new_id(),
        reference,
        sha,
        task: call.text("task").unwrap_or_else(|| "deploy".to_owned()),
        production: production.unwrap_or(environment == "production"),
        environment,
        description: call.text("description"),
        payload,
        transient: call.body["transient_environment"] == true,
        creator: call.grant.login.clone(),
        created_at: call.now,
        updated_at: call.now,
        statuses: Vec::new(),
    };
    let form = shown(call, &deployment);
    let id = deployment.id;
    call.repository_mut()?.deployments.insert(id, deployment);
    call.tell("deployment", Some("created"), json!({ "deployment": form }));
    Ok(Reply::new(201, form))
}

pub(super) fn statuses(call: &Call<'_>) -> Answer {
    let deployment = one(call)?;
    let newest: Vec<&DeploymentStatus> = deployment.statuses.iter().rev().collect();
    call.listed(newest, |it| status(call, deployment, it))
}

pub(super) fn create_status(call: &mut Call<'_>) -> Answer {
    let state = call.required("state")?;
    if !STATES.contains(&state.as_str()) {
        return Err(Refusal::invalid("DeploymentStatus", "state", "inclusion"));
    }
    let made = DeploymentStatus {
        id: call.state.new_id(),
        state,
        description: call.text("description").unwrap_or_default(),
        environment_url: call.text("environment_url").unwrap_or_default(),
        log_url: call
            .text("log_url")
            .or(call.text("target_url"))
            .unwrap_or_default(),
        creator: call.grant.login.clone(),
        at: call.now,
    };
    let (id, now) = (call.number(0)?, call.now);
    let automatic = call.body["auto_inactive"] != false;
    let form = status(call, one(call)?, &made);
    let (environment, succeeded) = (one(call)?.environment.clone(), made.state == "success");
    let ids: Vec<u64> = call.repository()?.deployments.keys().copied().collect();
    for other in ids {
        let new_id = call.state.new_id();
        let Some(deployment) = call.repository_mut()?.deployments.get_mut(&other) else {
            continue;
        };
        let replaced = other != id
            && !deployment.production
            && !deployment.transient
            && deployment.environment == environment
            && deployment
                .statuses
                .last()
                .is_some_and(|it| it.state == "success");
        if succeeded && automatic && replaced {
            deployment.statuses.push(DeploymentStatus {
                id: new_id,
                state: "inactive".to_owned(),
                description: String::new(),
                environment_url: String::new(),
                log_url: String::new(),
                creator: made.creator.clone(),
                at: now,
            });
        }
    }
    let deployment = call.repository_mut()?.deployments.get_mut(&id);
    let deployment = deployment.ok_or_else(Refusal::not_found)?;
    deployment.updated_at = now;
    deployment.statuses.push(made);
    let payload = json!({ "deployment_status": form, "deployment": shown(call, one(call)?) });
    call.tell("deployment_status", Some("created"), payload);
    Ok(Reply::new(201, form))
}

fn shown(call: &Call<'_>, deployment: &Deployment) -> Value {
    let form = call.form();
    let url = call.repository().map(|it| form.url(it)).unwrap_or_default();
    let id = deployment.id;
    let own = format!("{url}/deployments/{id}");
    json!({
        "url": own,
        "id": id,
        "node_id": node("DE", id),
        "sha": deployment.sha,
        "ref": deployment.reference,
        "task": deployment.task,
        "payload": deployment.payload,
        "original_environment": deployment.environment,
        "environment": deployment.environment,
        "description": deployment.description,
        "creator": form.user(&deployment.creator),
        "created_at": deployment.created_at.to_string(),
        "updated_at": deployment.updated_at.to_string(),
        "statuses_url": format!("{own}/statuses"),
        "repository_url": url,
        "transient_environment": deployment.transient,
        "production_environment": deployment.production,
    })
}

fn status(call: &Call<'_>, deployment: &Deployment, status: &DeploymentStatus) -> Value {
    let form = call.form();
    let url = call.repository().map(|it| form.url(it)).unwrap_or_default();
    let own = format!("{url}/deployments/{}", deployment.id);
    json!({
        "url": format!("{own}/statuses/{}", status.id),
        "id": status.id,
        "node_id": node("DES", status.id),
        "state": status.state,
        "creator": form.user(&status.creator),
        "description": status.description,
        "environment": deployment.environment,
        "target_url": status.log_url,
        "created_at": status.at.to_string(),
        "updated_at": status.at.to_string(),
        "deployment_url": own,
        "repository_url": url,
        "environment_url": status.environment_url,
        "log_url": status.log_url,
    })
}
