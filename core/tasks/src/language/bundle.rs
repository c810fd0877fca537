//! Where the parts of a language model lie on disk.

use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::error::LanguageError;
use super::files::read_json;

/// A bundle folder (`metadata.json` of kind `llm`, an asset, a tokenizer), or a bare asset with a
/// tokenizer beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What was given.
    pub path: PathBuf,
    /// Name in the metadata, or the file's.
    pub name: String,
    /// The `.aimodel`.
    pub asset: PathBuf,
    /// Folder that holds `tokenizer.json`, if one was found.
    pub tokenizer: Option<PathBuf>,
    /// The Hugging Face name of a tokenizer that is not embedded.
    pub tokenizer_name: Option<String>,
    /// `language.max_context_length`.
    pub max_context: Option<usize>,
    /// Entry points that `language.function_map` names for the main role.
    pub functions: Vec<String>,
}

impl Bundle {
    /// Finds the parts. Reads `metadata.json` only.
    pub fn open(path: &Path) -> Result<Bundle, LanguageError> {
        if !path.exists() {
            return Err(LanguageError::NotFound(path.to_path_buf()));
        }
        if path.is_dir() && !is_asset(path) {
            let metadata = path.join("metadata.json");
            let Some(value) = read_json(&metadata)? else {
                return Err(LanguageError::Bundle {
                    path: path.to_path_buf(),
                    reason: "neither a bundle (no metadata.json) nor an .aimodel (no main.mlirb)".into(),
                });
            };
            return parse(path, &metadata, &value);
        }
        // A bare asset. The folder around it may be its bundle.
        let asset = match path.file_name() {
            Some(name) if name == "main.mlirb" => path.parent().filter(|p| is_asset(p)).unwrap_or(path),
            _ => path,
        };
        let parent = match asset.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("."),
        };
        let around = read_json(&parent.join("metadata.json")).ok().flatten();
        if let Some(value) = around
            && let Ok(bundle) = parse(parent, &parent.join("metadata.json"), &value)
            && bundle.asset.file_name() == asset.file_name()
        {
            return Ok(bundle);
        }
        Ok(Bundle {
            path: path.to_path_buf(),
            name: asset.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            asset: asset.to_path_buf(),
            tokenizer: find_tokenizer(&[asset, parent]),
            tokenizer_name: None,
            max_context: None,
            functions: Vec::new(),
        })
    }

    /// Opens the asset; errors name it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn open_asset(&self) -> Result<std::sync::Arc<coreai::AIModelAsset>, LanguageError> {
        let path = &self.asset;
        coreai::AIModelAsset::open(path)
            .map_err(|e| LanguageError::Asset { path: path.clone(), source: Box::new(e) })
    }

    /// The tokenizer folder, or an error that says where it was looked for.
    pub fn tokenizer_folder(&self) -> Result<&Path, LanguageError> {
        self.tokenizer.as_deref().ok_or_else(|| LanguageError::NoTokenizer {
            asset: self.path.clone(),
            advice: match &self.tokenizer_name {
                Some(name) => format!(
                    "metadata.json names {name:?}; put its tokenizer.json and \
                     tokenizer_config.json into {}",
                    self.path.join("tokenizer").display()
                ),
                None => "give the bundle folder (metadata.json, .aimodel, tokenizer/), or put \
                         tokenizer/tokenizer.json next to the .aimodel"
                    .into(),
            },
        })
    }
}

/// Context to use: the wanted one, which must not exceed the declared one.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn bounded(
    wanted: Option<usize>,
    declared: Option<usize>,
) -> Result<Option<usize>, LanguageError> {
    match (wanted, declared) {
        (Some(wanted), Some(declared)) if wanted > declared => Err(LanguageError::Option {
            name: "context",
            found: format!("{wanted}, but the model holds {declared} tokens"),
            expected: "at most that",
        }),
        (Some(0), _) => {
            Err(LanguageError::Option { name: "context", found: "0".into(), expected: "1 or more tokens" })
        }
        (wanted, declared) => Ok(wanted.or(declared)),
    }
}

fn is_asset(folder: &Path) -> bool {
    folder.join("main.mlirb").is_file()
        || (folder.is_dir() && folder.extension().is_some_and(|e| e == "aimodel"))
}

fn find_tokenizer(folders: &[&Path]) -> Option<PathBuf> {
    folders
        .iter()
        .flat_map(|folder| [folder.join("tokenizer"), folder.to_path_buf()])
        .find(|folder| folder.join("tokenizer.json").is_file())
}

/// What `metadata.json` of a bundle says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleMetadata {
    /// Name, without the extension of an asset.
    pub name: String,
    /// Path of the asset inside the bundle.
    pub main: String,
    /// The Hugging Face name of a tokenizer that is not embedded.
    pub tokenizer_name: Option<String>,
    /// `language.max_context_length`.
    pub max_context: Option<usize>,
    /// Entry points that `language.function_map` names for the main role.
    pub functions: Vec<String>,
}

impl BundleMetadata {
    /// Checks the content of `metadata.json`; errors name `path`.
    pub fn parse(path: &Path, value: &Value) -> Result<BundleMetadata, LanguageError> {
        let wrong = |reason: String| LanguageError::Bundle { path: path.to_path_buf(), reason };
        match value.get("kind").and_then(Value::as_str) {
            Some("llm") => {}
            Some(kind) => return Err(wrong(format!("kind is {kind:?}; expected \"llm\""))),
            None => return Err(wrong("not a language bundle: it has no \"kind\"".into())),
        }
        let Some(main) = value.pointer("/assets/main").and_then(Value::as_str) else {
            return Err(wrong("assets.main is missing".into()));
        };
        let inside = Path::new(main).components().all(|c| matches!(c, Component::Normal(_)));
        if main.is_empty() || !inside {
            return Err(wrong(format!("assets.main is {main:?}; expected a path inside the bundle")));
        }
        let language = value.get("language").unwrap_or(&Value::Null);
        let max_context = match language.get("max_context_length") {
            None | Some(Value::Null) => None,
            Some(found) => match found.as_u64().and_then(|n| usize::try_from(n).ok()) {
                Some(n) if n > 0 && n <= 1 << 30 => Some(n),
                _ => {
                    return Err(wrong(format!(
                        "language.max_context_length is {found}; expected a positive integer"
                    )));
                }
            },
        };
        let functions = match language.pointer("/function_map/main") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(name)) => vec![name.clone()],
            _ => Vec::new(),
        };
        let name = value.get("name").and_then(Value::as_str).unwrap_or(main);
        Ok(BundleMetadata {
            name: name.trim_end_matches(".aimodel").to_owned(),
            main: main.to_owned(),
            tokenizer_name: language.get("tokenizer").and_then(Value::as_str).map(str::to_owned),
            max_context,
            functions,
        })
    }
}

fn parse(folder: &Path, metadata: &Path, value: &Value) -> Result<Bundle, LanguageError> {
    let found = BundleMetadata::parse(metadata, value)?;
    let asset = folder.join(&found.main);
    if !asset.exists() {
        return Err(LanguageError::Bundle {
            path: metadata.to_path_buf(),
            reason: format!("assets.main names {:?}, which is not in the bundle", found.main),
        });
    }
    Ok(Bundle {
        path: folder.to_path_buf(),
        name: found.name,
        tokenizer: find_tokenizer(&[folder, &asset]),
        asset,
        tokenizer_name: found.tokenizer_name,
        max_context: found.max_context,
        functions: found.functions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata() -> Value {
        json!({
            "kind": "llm", "name": "tiny", "assets": {"main": "tiny.aimodel"},
            "language": {"tokenizer": "org/tiny", "vocab_size": 320, "max_context_length": 64,
                         "function_map": {"main": ["main"]}}
        })
    }

    fn folder(name: &str, metadata: &Value, tokenizer: bool) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("coreai-bundle-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("tiny.aimodel")).unwrap();
        std::fs::write(folder.join("tiny.aimodel/main.mlirb"), b"").unwrap();
        std::fs::write(folder.join("metadata.json"), metadata.to_string()).unwrap();
        if tokenizer {
            std::fs::create_dir_all(folder.join("tokenizer")).unwrap();
            std::fs::write(folder.join("tokenizer/tokenizer.json"), b"{}").unwrap();
        }
        folder
    }

    #[test]
    fn a_bundle_and_the_asset_inside_it_are_the_same_model() {
        let folder = folder("whole", &metadata(), true);
        let bundle = Bundle::open(&folder).unwrap();
        assert_eq!(bundle.name, "tiny");
        assert_eq!(bundle.asset, folder.join("tiny.aimodel"));
        assert_eq!(bundle.tokenizer_folder().unwrap(), folder.join("tokenizer"));
        assert_eq!(bundle.max_context, Some(64));
        assert_eq!(bundle.functions, ["main"]);
        assert_eq!(Bundle::open(&folder.join("tiny.aimodel")).unwrap(), bundle);
        assert_eq!(Bundle::open(&folder.join("tiny.aimodel/main.mlirb")).unwrap(), bundle);
        let error = bundle.open_asset().map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}: ", bundle.asset.display())), "{error}");
        assert!(error.code().starts_with("asset."), "{}", error.code());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_missing_tokenizer_is_named() {
        let folder = folder("bare", &metadata(), false);
        let error = Bundle::open(&folder).unwrap().tokenizer_folder().unwrap_err().to_string();
        assert!(error.contains("org/tiny"), "{error}");
        std::fs::remove_file(folder.join("metadata.json")).unwrap();
        let error = Bundle::open(&folder.join("tiny.aimodel")).unwrap();
        let error = error.tokenizer_folder().unwrap_err().to_string();
        assert!(error.contains("next to the .aimodel"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn bad_metadata_says_what_is_wrong() {
        for (patch, expected) in [
            (json!({"kind": "vision"}), "kind is \"vision\""),
            (json!({"kind": null}), "no \"kind\""),
            (json!({"assets": {}}), "assets.main is missing"),
            (json!({"assets": {"main": "../evil.aimodel"}}), "inside the bundle"),
            (json!({"assets": {"main": "/etc/passwd"}}), "inside the bundle"),
            (json!({"assets": {"main": "gone.aimodel"}}), "not in the bundle"),
            (json!({"language": {"max_context_length": -4}}), "max_context_length is -4"),
            (json!({"language": {"max_context_length": 1e30}}), "expected a positive integer"),
        ] {
            let mut value = metadata();
            for (key, new) in patch.as_object().unwrap() {
                value[key] = new.clone();
            }
            let folder = folder("bad", &value, true);
            let error = Bundle::open(&folder).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
            std::fs::remove_dir_all(folder).unwrap();
        }
        let missing = Bundle::open(Path::new("/nonexistent/x.aimodel")).unwrap_err();
        assert_eq!(missing.code(), "not_found");
    }
}
