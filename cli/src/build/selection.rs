//! Options that say which weights are compressed, and how.

use clap::{Args, ValueEnum};
use coreai_convert::ConvertError;
use coreai_convert::quantize::{Pattern, Scheme, Schemes, Selection};

/// A scheme for all weights.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// int8, one scale per output channel
    W8,
    /// int4, one scale for 32 weights, embedding and head included
    W4,
}

impl Preset {
    /// What a bundle's metadata calls it.
    pub fn compression(self) -> &'static str {
        match self {
            Self::W8 => "8bit",
            Self::W4 => "4bit",
        }
    }

    fn schemes(self) -> Schemes {
        match self {
            Self::W8 => Schemes::W8,
            Self::W4 => Schemes::W4,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    W8,
    W4,
    None,
}

impl Choice {
    fn scheme(self) -> Option<Scheme> {
        match self {
            Self::W8 => Some(Scheme::W8),
            Self::W4 => Some(Scheme::W4),
            Self::None => None,
        }
    }
}

/// Exceptions from a preset.
#[derive(Args)]
#[command(next_help_heading = "Which weights are compressed")]
pub struct Exceptions {
    /// Tables of token vectors, also where they are the output head too
    #[arg(long, value_enum, value_name = "SCHEME")]
    embedding: Option<Choice>,
    /// The output head, where it is a weight of its own
    #[arg(long, value_enum, value_name = "SCHEME")]
    head: Option<Choice>,
    /// Other factors of matrix products
    #[arg(long, value_enum, value_name = "SCHEME")]
    linear: Option<Choice>,
    /// Kernels of convolutions; w4 is for those of one pixel, others become w8
    #[arg(long, value_enum, value_name = "SCHEME")]
    conv: Option<Choice>,
    /// Matrices that a router picks from
    #[arg(long, value_enum, value_name = "SCHEME")]
    expert: Option<Choice>,
    /// Only weights whose whole name matches; repeatable
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Never weights whose whole name matches; repeatable, wins over --include
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
}

impl Exceptions {
    /// The preset with these exceptions.
    pub fn selection(&self, preset: Preset) -> Result<Selection, ConvertError> {
        let preset = preset.schemes();
        let choose = |choice: Option<Choice>, scheme| choice.map_or(scheme, Choice::scheme);
        let schemes = Schemes {
            embedding: choose(self.embedding, preset.embedding),
            head: choose(self.head, preset.head),
            linear: choose(self.linear, preset.linear),
            conv: choose(self.conv, preset.conv),
            expert: choose(self.expert, preset.expert),
        };
        let patterns = |texts: &[String]| -> Result<Vec<Pattern>, ConvertError> {
            texts.iter().map(|text| Pattern::new(text)).collect()
        };
        Ok(Selection { include: patterns(&self.include)?, exclude: patterns(&self.exclude)?, schemes })
    }

    /// None was given.
    pub fn is_empty(&self) -> bool {
        let choices = [self.embedding, self.head, self.linear, self.conv, self.expert];
        choices.iter().all(Option::is_none) && self.include.is_empty() && self.exclude.is_empty()
    }
}

/// Patterns that match none of the names, which is most likely a mistake, are told on stderr.
pub fn warn_of_idle_patterns<'a>(
    selection: &Selection,
    names: impl Iterator<Item = &'a str> + Clone,
    where_to_find: &str,
) {
    for (option, patterns) in [("--include", &selection.include), ("--exclude", &selection.exclude)] {
        for pattern in patterns {
            if !names.clone().any(|name| pattern.matches(name)) {
                eprintln!("warning: {option} {:?} matches no weight; {where_to_find}", pattern.as_str());
            }
        }
    }
}
