//! Texts and numbers as both renderers need them: markup escaping and short number formatting.

/// Escapes text for HTML and SVG, in content and in quoted attributes alike. Control characters,
/// which a sampled completion may hold and markup may not, become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            // Browsers turn CR LF into LF themselves.
            '\r' => {}
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A finite number to four significant digits without trailing zeros: `0.7123`, `1200`, `3.1e-7`.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    // Rounded first, so that 9.99999 counts as 10.
    let scientific = format!("{value:.3e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..7).contains(&exponent) {
        let places = usize::try_from(3 - exponent).unwrap_or(0);
        return trim_zeros(&format!("{value:.places$}")).into();
    }
    format!("{}e{exponent}", trim_zeros(digits))
}

fn trim_zeros(digits: &str) -> &str {
    if !digits.contains('.') {
        return digits;
    }
    digits.trim_end_matches('0').trim_end_matches('.')
}

/// Paragraphs of a text: what blank lines separate, trimmed.
pub(crate) fn paragraphs(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.split(|line| line.is_empty()).filter(|p| !p.is_empty()).map(|p| p.join("\n")).collect()
}

/// A check the renderers' tests share.
#[cfg(test)]
pub(crate) mod markup {
    /// Panics unless every tag is closed in order, every attribute quoted and every `&` an entity.
    pub(crate) fn assert_well_formed(markup: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut pieces = markup.split('<');
        check_entities(pieces.next().unwrap_or_default());
        for piece in pieces {
            let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("open tag <{piece}"));
            if open.last() != Some(&"style") {
                check_entities(text);
            }
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "</{name}> closes another tag");
            } else if !tag.starts_with('!') {
                check_attributes(tag);
                if !tag.ends_with('/') {
                    open.push(tag.split_whitespace().next().unwrap_or_default());
                }
            }
        }
        assert!(open.is_empty(), "never closed: {open:?}");
    }

    fn check_attributes(tag: &str) {
        let parts: Vec<&str> = tag.split('"').collect();
        assert!(parts.len() % 2 == 1, "unbalanced quotes in <{tag}>");
        for pair in parts.chunks_exact(2) {
            assert!(pair[0].ends_with('='), "a quoted value without a name in <{tag}>");
            check_entities(pair[1]);
        }
    }

    fn check_entities(text: &str) {
        for rest in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
            assert!(known.iter().any(|entity| rest.starts_with(entity)), "bare & before {rest:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_characters_are_escaped_and_ordinary_text_is_not() {
        assert_eq!(escape("<a b=\"c\">'&'"), "&lt;a b=&quot;c&quot;&gt;&#39;&amp;&#39;");
        assert_eq!(escape("naïve 日本 🙂\n\tok"), "naïve 日本 🙂\n\tok");
    }

    #[test]
    fn control_characters_are_made_visible() {
        assert_eq!(escape("a\0b\u{1b}[0m\r\n"), "a\u{fffd}b\u{fffd}[0m\n");
    }

    #[test]
    fn numbers_keep_four_significant_digits() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (0.712345, "0.7123"),
            (0.5, "0.5"),
            (9.99999, "10"),
            (1200.0, "1200"),
            (-123456.7, "-123457"),
            (3.1e-7, "3.1e-7"),
            (2e9, "2e9"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn blank_lines_separate_paragraphs() {
        assert_eq!(paragraphs("\n a\nb \n \n\nc\n"), ["a\nb", "c"]);
        assert!(paragraphs(" \n").is_empty());
    }
}
