//! Patterns in which `*` stands for any text.

/// Does a pattern fit the whole of a name?
pub fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // Where the last star stood, and up to where in the name it was tried: stars before it need no other try.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p) == Some(&name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, tried)) = star {
            (p, n, star) = (at + 1, tried + 1, Some((at, tried + 1)));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Does a pattern fit a parameter's name or that of a layer above it?
pub fn fits_parameter(pattern: &str, name: &str) -> bool {
    let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
    ends.into_iter().any(|end| fits(pattern.as_bytes(), &name.as_bytes()[..end]))
}

#[cfg(test)]
mod tests {
    use super::{fits, fits_parameter};

    #[test]
    fn stars_stand_for_any_text() {
        for pattern in ["a.png", "*", "*.png", "a*", "a*.p*g", "**g", "a.png*", "*a*.*png*"] {
            assert!(fits(pattern.as_bytes(), b"a.png"), "{pattern}");
        }
        for pattern in ["", "b*", "*.pn", "a*b*g", "*.png.", "a.pngg"] {
            assert!(!fits(pattern.as_bytes(), b"a.png"), "{pattern}");
        }
        // Soon, where trying all ways would take for ever.
        assert!(!fits(["a*".repeat(50), "c".into()].concat().as_bytes(), &b"a".repeat(2000)));
    }

    #[test]
    fn patterns_fit_parameters_and_the_layers_above_them() {
        for pattern in ["block1", "block1.conv", "block1.conv.weight", "*.weight", "block*", "*conv*", "*"] {
            assert!(fits_parameter(pattern, "block1.conv.weight"), "{pattern}");
        }
        for pattern in ["block", "conv", "block1.con", "*.bias", ""] {
            assert!(!fits_parameter(pattern, "block1.conv.weight"), "{pattern}");
        }
    }
}
