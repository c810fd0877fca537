//! Which weights are compressed, and how.

use super::scheme::Scheme;
use crate::error::ConvertError;

/// Characters of a pattern; names of weights have about fifty.
const MAX_PATTERN: usize = 256;

/// A glob that a weight's whole name has to match: `*` any characters, `?` one, `[ab]`, `[a-z]` and `[!a]` one of
/// a set. Dots and slashes are nothing special.
// `glob` has no dependencies, where `globset` brings four and `regex-lite` reads no globs
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> Result<Self, ConvertError> {
        let fail = |expected: String| ConvertError::Config {
            file: "selection".into(),
            key: "pattern".into(),
            found: format!("{:?}", text.chars().take(MAX_PATTERN).collect::<String>()),
            expected,
        };
        if text.is_empty() || text.chars().count() > MAX_PATTERN {
            return Err(fail(format!("1 to {MAX_PATTERN} characters")));
        }
        let pattern = glob::Pattern::new(text).map_err(|error| {
            fail(format!("a glob of *, ? and [..]; character {}: {}", error.pos + 1, error.msg))
        })?;
        Ok(Self(pattern))
    }

    /// True where it matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What a weight is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightClass {
    /// A table of token vectors, also where it is the output head as well.
    Embedding,
    /// The output head, where it is a weight of its own.
    Head,
    /// Any other factor of a matrix product.
    Linear,
    /// The kernel of a convolution.
    Conv,
    /// A stack of matrices that a router picks from.
    Expert,
}

/// A scheme for each class; classes without one are not compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Schemes {
    pub embedding: Option<Scheme>,
    pub head: Option<Scheme>,
    pub linear: Option<Scheme>,
    pub conv: Option<Scheme>,
    pub expert: Option<Scheme>,
}

impl Schemes {
    /// int8 per output channel everywhere.
    pub const W8: Self = Self::all(Scheme::W8);

    /// int4 in blocks of 32, embedding and head included, as Apple's `4bit` preset has it. Convolutions are int8
    /// per output channel.
    pub const W4: Self = Self { conv: Some(Scheme::W8), ..Self::all(Scheme::W4) };

    /// One scheme for all classes.
    pub const fn all(scheme: Scheme) -> Self {
        let scheme = Some(scheme);
        Self { embedding: scheme, head: scheme, linear: scheme, conv: scheme, expert: scheme }
    }

    /// Of a class.
    pub fn of(&self, class: WeightClass) -> Option<Scheme> {
        match class {
            WeightClass::Embedding => self.embedding,
            WeightClass::Head => self.head,
            WeightClass::Linear => self.linear,
            WeightClass::Conv => self.conv,
            WeightClass::Expert => self.expert,
        }
    }
}

/// Which weights are compressed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// If there are any, only names that one of them matches.
    pub include: Vec<Pattern>,
    /// Never names that one of these matches, included or not.
    pub exclude: Vec<Pattern>,
    /// By class.
    pub schemes: Schemes,
}

impl Selection {
    /// [`Schemes::W8`] for all names.
    pub const W8: Self = Self { include: Vec::new(), exclude: Vec::new(), schemes: Schemes::W8 };
    /// [`Schemes::W4`] for all names.
    pub const W4: Self = Self { include: Vec::new(), exclude: Vec::new(), schemes: Schemes::W4 };

    /// How the weight of this name is compressed, if it is.
    pub fn scheme(&self, name: &str, class: WeightClass) -> Option<Scheme> {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        let wanted = (self.include.is_empty() || any(&self.include)) && !any(&self.exclude);
        self.schemes.of(class).filter(|_| wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn patterns() {
        let name = "model.layers.12.mlp.down_proj.weight";
        for text in
            ["*", name, "*.down_proj.*", "model.layers.1?.mlp.*", "*.[0-9][0-9].*", "*[!q]_proj.weight"]
        {
            assert!(pattern(text).matches(name), "{text}");
        }
        for text in ["down_proj", "*.layers.?.*", "*.[a-z].*", "model.layers.12", "*[!n]_proj.weight"] {
            assert!(!pattern(text).matches(name), "{text}");
        }
        assert!(pattern("a*c").matches("a/b.c"));
    }

    #[test]
    fn broken_patterns() {
        let long = "*".repeat(MAX_PATTERN + 1);
        for (text, words) in [("a[b", "character 2"), ("", "1 to 256"), (long.as_str(), "1 to 256")] {
            let error = Pattern::new(text).unwrap_err();
            assert_eq!(error.code(), "convert.config");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn exclusion_wins() {
        let selection = Selection {
            include: vec![pattern("*.mlp.*"), pattern("*.self_attn.*")],
            exclude: vec![pattern("*.v_proj.*")],
            ..Selection::W8
        };
        let of = |name: &str| selection.scheme(name, WeightClass::Linear);
        assert_eq!(of("model.layers.0.mlp.up_proj.weight"), Some(Scheme::W8));
        assert_eq!(of("model.layers.0.self_attn.q_proj.weight"), Some(Scheme::W8));
        assert_eq!(of("model.layers.0.self_attn.v_proj.weight"), None);
        assert_eq!(of("model.embed_tokens.weight"), None);
    }

    #[test]
    fn classes_have_schemes_of_their_own() {
        let schemes = Schemes { embedding: Some(Scheme::W8), head: None, ..Schemes::W4 };
        let selection = Selection { schemes, ..Selection::W4 };
        let of = |class| selection.scheme("w", class);
        assert_eq!(of(WeightClass::Embedding), Some(Scheme::W8));
        assert_eq!(of(WeightClass::Head), None);
        assert_eq!(of(WeightClass::Linear), Some(Scheme::W4));
        assert_eq!(of(WeightClass::Conv), Some(Scheme::W8));
        assert_eq!(of(WeightClass::Expert), Some(Scheme::W4));
        assert_eq!(
            Selection::W4.scheme("model.embed_tokens.weight", WeightClass::Embedding),
            Some(Scheme::W4)
        );
    }
}
