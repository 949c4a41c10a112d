//! The changes between two JSON values, as a merge patch (RFC 7396): an object holds the new values, and null for
//! removed ones.

use serde_json::{Map, Value};

/// The patch from `old` to `new`; `None` if they are equal. The values hold no null but where the patch's reader takes
/// it for absence.
pub(crate) fn between(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(known) => {
                if let Some(changed) = between(known, value) {
                    patch.insert(key.clone(), changed);
                }
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// RFC 7396, section 2.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let Some(target) = target.as_object_mut() else { return };
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                apply(target.entry(key).or_insert(Value::Null), value);
            }
        }
    }

    #[test]
    fn a_patch_leads_from_one_to_the_other() {
        let values = [
            json!({}),
            json!({"a": 1, "b": {"c": [1, 2], "d": "x"}}),
            json!({"a": 1, "b": {"c": [1, 3], "e": {"f": 1}}}),
            json!({"b": 7}),
            json!({"b": {"c": {}}, "g": false}),
        ];
        for old in &values {
            for new in &values {
                let mut patched = old.clone();
                match between(old, new) {
                    Some(patch) => apply(&mut patched, &patch),
                    None => assert_eq!(old, new),
                }
                assert_eq!(&patched, new);
            }
        }
    }

    #[test]
    fn it_says_no_more_than_has_changed() {
        let (old, new) = (json!({"a": {"n": 1, "m": 2}, "b": 3}), json!({"a": {"n": 2, "m": 2}, "b": 3}));
        assert_eq!(between(&old, &new), Some(json!({"a": {"n": 2}})));
    }
}
