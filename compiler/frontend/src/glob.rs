//! Patterns of parameter names: `*` stands for any letters, everything else for itself.

/// Whether a name fits a pattern.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    // The last star, and how far the name had been read there: on a mismatch the star takes one letter more.
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, read));
            at += 1;
        } else if pattern.get(at) == Some(&name[read]) {
            at += 1;
            read += 1;
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            at = after + 1;
            read = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&letter| letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, name, fits) in [
            ("*", "dense_1.w", true),
            ("dense_*.w", "dense_12.w", true),
            ("dense_*.w", "dense_12.b", false),
            ("*.w", "a.w.w", true),
            ("conv_1", "conv_1.w", false),
            ("a*b*c", "abbbc", true),
            ("a*b*c", "abcb", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
