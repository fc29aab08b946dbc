//! Placeholders in templates: `{name}`.

/// Replaces each `{name}` by its value in one pass, so that a value that looks like a placeholder
/// stays as it is.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, name, after)) = next_placeholder(rest) {
        out.push_str(before);
        match values.iter().find(|(key, _)| *key == name) {
            Some((_, value)) => out.push_str(value),
            None => out.push_str(&rest[before.len()..rest.len() - after.len()]),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Names of all placeholders, in order.
pub fn placeholders(template: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = template;
    while let Some((_, name, after)) = next_placeholder(rest) {
        names.push(name);
        rest = after;
    }
    names
}

/// Names after a brace that nothing closes, in order.
pub fn unclosed(template: &str) -> Vec<&str> {
    let after_brace = template.match_indices('{').map(|(open, _)| &template[open + 1..]);
    let unclosed = after_brace.filter_map(|after| {
        let name = &after[..after.find(|c: char| !is_of_name(c)).unwrap_or(after.len())];
        let is_closed = after[name.len()..].starts_with('}');
        (!name.is_empty() && !is_closed).then_some(name)
    });
    unclosed.collect()
}

/// The first `{name}`: what stands before it, the name, what stands after.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('{')?;
        let close = open + text[open..].find('}')?;
        let name = &text[open + 1..close];
        if !name.is_empty() && name.chars().all(is_of_name) {
            return Some((&text[..open], name, &text[close + 1..]));
        }
        from = open + 1;
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_placeholder_is_left_alone() {
        let text = fill("{a} and {b} in {{json}}", &[("a", "{b}"), ("b", "2")]);
        assert_eq!(text, "{b} and 2 in {{json}}");
        assert_eq!(placeholders("{x} {not a name} {y_1}"), ["x", "y_1"]);
    }

    #[test]
    fn a_brace_that_nothing_closes_is_seen() {
        assert_eq!(
            unclosed("{x {y_1} {z_2\n{\"json\": 1} {} {not a name} {w"),
            ["x", "z_2", "not", "w"]
        );
    }
}
