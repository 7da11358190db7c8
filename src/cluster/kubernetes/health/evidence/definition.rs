//! What a CustomResourceDefinition tells about the health of its resources.

use serde_json::Value;

use super::super::seen::text_at;

/// Whether a controller can answer a custom resource in its status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Definition {
    /// Its definition was not read, or leaves it open.
    #[default]
    Unknown,
    /// It has a status.
    HasStatus,
    /// It has none: nobody will ever write one.
    NoStatus,
}

impl Definition {
    /// Reads it from a CustomResourceDefinition, for the version in which the resources are read.
    pub fn of(definition: &Value, version: &str) -> Self {
        let versions = definition
            .pointer("/spec/versions")
            .and_then(Value::as_array);
        let mut versions = versions.into_iter().flatten();
        let Some(found) = versions.find(|it| text_at(it, "/name") == Some(version)) else {
            return Self::Unknown;
        };
        let schema = found
            .pointer("/schema/openAPIV3Schema")
            .filter(|it| it.is_object());
        let in_schema = schema.is_some_and(|it| it.pointer("/properties/status").is_some());
        // Fields that the schema does not name are kept: a status may be among them.
        let is_open = schema.is_none_or(|it| {
            it.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
        });
        let has_subresource = found.pointer("/subresources/status").is_some();
        if in_schema || (has_subresource && is_open) {
            Self::HasStatus
        } else if is_open {
            Self::Unknown
        } else {
            Self::NoStatus
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_definition_tells_whether_there_is_a_status() {
        let status = json!({ "properties": { "spec": {}, "status": { "type": "object" } } });
        let none = json!({ "properties": { "spec": {} } });
        let open = json!({ "x-kubernetes-preserve-unknown-fields": true });
        for (schema, subresources, expected) in [
            (
                Some(&status),
                json!({ "status": {} }),
                Definition::HasStatus,
            ),
            (Some(&status), json!({}), Definition::HasStatus),
            (Some(&none), json!({ "status": {} }), Definition::NoStatus),
            (Some(&none), json!({}), Definition::NoStatus),
            (Some(&open), json!({ "status": {} }), Definition::HasStatus),
            (Some(&open), json!({}), Definition::Unknown),
            (None, json!({}), Definition::Unknown),
        ] {
            let definition = json!({ "spec": { "versions": [
                { "name": "v1alpha1" },
                { "name": "v1", "schema": { "openAPIV3Schema": schema }, "subresources": subresources },
            ] } });
            assert_eq!(Definition::of(&definition, "v1"), expected, "{definition}");
            assert_eq!(Definition::of(&definition, "v2"), Definition::Unknown);
        }
        assert_eq!(Definition::of(&Value::Null, "v1"), Definition::Unknown);
    }
}
