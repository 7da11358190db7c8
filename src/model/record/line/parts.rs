//! What lines are made of that is more than a text or a number: releases, findings, fields that were taken.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{InvalidRecord, Line, missing, parse};
use crate::model::evidence::{self, SCORES_MAX};
use crate::model::record::Taken;
use crate::model::{Contents, EvidenceName, Finding, ImageVersion, Images, Rank, Release};

#[derive(Serialize, Deserialize)]
pub(super) struct TakenLine {
    object: String,
    manager: String,
    fields: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ReleaseLine {
    name: String,
    images: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    built: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
}

pub(super) fn finding(line: &mut Line) -> Result<Finding, InvalidRecord> {
    let malformed = InvalidRecord::Malformed;
    let scores = std::mem::take(&mut line.scores);
    if scores.len() > SCORES_MAX {
        return Err(malformed(format!(
            "{} scores, {SCORES_MAX} may be",
            scores.len()
        )));
    }
    let score = |(name, score): (String, f64)| Ok((parse::<EvidenceName>(&name)?, score));
    Ok(Finding {
        name: parse(line.name.as_deref().ok_or_else(|| missing("name"))?)?,
        result: parse(line.result.as_deref().ok_or_else(|| missing("result"))?)?,
        scores: scores.into_iter().map(score).collect::<Result<_, _>>()?,
        link: match &line.link {
            Some(link) => Some(evidence::link(link).map_err(malformed)?),
            None => None,
        },
    })
}

impl From<Taken> for TakenLine {
    fn from(taken: Taken) -> Self {
        Self {
            object: taken.object,
            manager: taken.manager,
            fields: taken.fields,
        }
    }
}

impl From<TakenLine> for Taken {
    fn from(line: TakenLine) -> Self {
        Self {
            object: line.object,
            manager: line.manager,
            fields: line.fields,
        }
    }
}

pub(super) fn release_line(release: &Release) -> ReleaseLine {
    let images = release.images.iter();
    ReleaseLine {
        name: release.name.clone(),
        images: images
            .clone()
            .map(|(repository, image)| (repository.to_string(), image.digest.to_string()))
            .collect(),
        tags: images
            .filter_map(|(repository, image)| Some((repository.to_string(), image.tag.clone()?)))
            .collect(),
        version: release.rank.version.as_ref().map(ToString::to_string),
        built: release.rank.built,
        commit: release.commit.clone(),
    }
}

pub(super) fn release_of(mut line: ReleaseLine) -> Result<Release, InvalidRecord> {
    let mut images = Images::default();
    for (repository, digest) in line.images {
        let tag = line.tags.remove(&repository);
        images.insert(
            parse(&repository)?,
            ImageVersion {
                tag,
                digest: parse(&digest)?,
            },
        );
    }
    if images.is_empty() {
        return Err(missing("images"));
    }
    let version = line.version.as_deref().map(parse).transpose()?;
    Ok(Release::from(Contents {
        name: line.name,
        images,
        rank: Rank {
            version,
            built: line.built,
        },
        commit: line.commit,
    }))
}
