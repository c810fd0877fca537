use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::server::{Heard, Page, Scratch, Server, impatient, noise};
use crate::error::ConvertError;
use crate::fetch::transfer::hex;
use crate::fetch::{HubConfig, HubName};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NEXT: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// A hub with one repository, `org/model`, whose large files lie on another server.
struct Repository {
    hub: Server,
    files: Server,
    cache: Scratch,
}

impl Repository {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let this = Self { hub: Server::new(), files: Server::new(), cache: Scratch::new() };
        this.commit("main", COMMIT, files);
        this
    }

    fn commit(&self, revision: &str, commit: &str, files: &[(&str, &[u8])]) {
        let mut siblings = vec![r#"{"rfilename": "README.md"}"#.to_string()];
        for (name, content) in files {
            siblings.push(format!(r#"{{"rfilename": "{name}", "size": {}}}"#, content.len()));
            let address = format!("/org/model/resolve/{commit}/{name}");
            let page = if name.ends_with(".safetensors") || name.ends_with(".gguf") {
                let hash = hex(&Sha256::digest(content));
                self.files.put(&format!("/{hash}"), Page::new(*content));
                Page::status(302)
                    .header("Location", format!("{}/{hash}", self.files.url))
                    .header("X-Linked-ETag", format!("\"{hash}\""))
                    .header("X-Linked-Size", content.len().to_string())
            } else {
                Page::new(*content).header("ETag", format!("\"{}\"", &hex(&Sha256::digest(content))[..40]))
            };
            self.hub.put(&address, page.header("X-Repo-Commit", commit));
        }
        let listing =
            format!(r#"{{"id": "org/model", "sha": "{commit}", "siblings": [{}]}}"#, siblings.join(","));
        self.hub.put(&format!("/api/models/org/model/revision/{revision}"), Page::new(listing));
    }

    fn config(&self) -> HubConfig {
        HubConfig {
            endpoint: self.hub.url.clone(),
            cache: self.cache.path().join("hub"),
            token: Some("secret".into()),
            offline: false,
            network: impatient(2),
        }
    }

    fn folder(&self) -> PathBuf {
        self.cache.path().join("hub/models--org--model")
    }

    fn offline(&self) -> HubConfig {
        HubConfig { offline: true, ..self.config() }
    }

    fn blob(&self, content: &[u8]) -> String {
        format!("/{}", hex(&Sha256::digest(content)))
    }
}

fn name(text: &str) -> HubName {
    HubName::parse(text).unwrap()
}

fn model() -> HubName {
    name("hf:org/model")
}

fn text(error: ConvertError) -> String {
    assert!(matches!(error.code(), "convert.download" | "convert.malformed"), "{error:?}");
    error.to_string()
}

const INDEX: &[u8] = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;

#[test]
fn shards_in_the_standard_layout() {
    let (one, two) = (noise(200_000), noise(1000));
    let repository = Repository::new(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{\"t\": 1}"),
        ("model.safetensors.index.json", INDEX),
        ("model-1.safetensors", &one),
        ("model-2.safetensors", &two),
        ("pytorch_model.bin", b"not wanted"),
    ]);
    let mut heard = Heard::default();
    let folder = repository.config().download(&model(), &mut heard).unwrap();
    assert_eq!(folder, repository.folder().join("snapshots").join(COMMIT));
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "config.json",
            "model-1.safetensors",
            "model-2.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json"
        ]
    );
    assert_eq!(fs::read(folder.join("model-1.safetensors")).unwrap(), one);
    assert_eq!(fs::read(folder.join("model-2.safetensors")).unwrap(), two);
    assert_eq!(fs::read(repository.folder().join("blobs").join(&repository.blob(&one)[1..])).unwrap(), one);
    assert_eq!(fs::read_to_string(repository.folder().join("refs/main")).unwrap(), COMMIT);
    #[cfg(unix)]
    assert!(fs::read_link(folder.join("config.json")).unwrap().starts_with("../../blobs"));
    assert_eq!(heard.0[0], format!("plan 1 Some({})", INDEX.len()));
    assert!(heard.0.contains(&format!("plan 4 Some({})", 2 + 8 + 201_000)), "{:?}", heard.0);

    // the token goes to the hub and to nobody else
    assert!(repository.hub.seen().iter().all(|seen| seen.headers["authorization"] == "Bearer secret"));
    assert!(repository.files.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));

    // again: nothing but the listing is asked for
    repository.hub.forget();
    repository.files.forget();
    assert_eq!(repository.config().download(&model(), &mut ()).unwrap(), folder);
    assert_eq!((repository.hub.seen().len(), repository.files.seen().len()), (1, 0));

    // offline, by branch and by commit; and when the hub is gone
    repository.hub.forget();
    assert_eq!(repository.offline().download(&model(), &mut ()).unwrap(), folder);
    assert_eq!(
        repository.offline().download(&name(&format!("hf:org/model@{COMMIT}")), &mut ()).unwrap(),
        folder
    );
    assert_eq!(repository.hub.seen().len(), 0);
    let gone = HubConfig { endpoint: "http://127.0.0.1:1".into(), ..repository.config() };
    assert_eq!(gone.download(&model(), &mut ()).unwrap(), folder);
    let error = text(gone.download(&name("hf:org/other"), &mut ()).unwrap_err());
    assert!(error.contains("cannot be reached"), "{error}");

    // what is missing is named, and fetched again
    fs::remove_file(folder.join("model-2.safetensors")).unwrap();
    let error = text(repository.offline().download(&model(), &mut ()).unwrap_err());
    assert!(error.contains("missing: model-2.safetensors"), "{error}");
    repository.config().download(&model(), &mut ()).unwrap();
    assert_eq!(fs::read(folder.join("model-2.safetensors")).unwrap(), two);
    assert_eq!(repository.files.seen().len(), 0, "the blob was there");
}

#[test]
fn cut_and_continued() {
    let weights = noise(300_000);
    let repository = Repository::new(&[("config.json", b"{}"), ("model.safetensors", &weights)]);
    let address = repository.blob(&weights);
    let mut page = Page::new(weights.clone());
    page.cut = Some((100_000, usize::MAX));
    repository.files.put(&address, page);
    let once = HubConfig { network: impatient(1), ..repository.config() };
    text(once.download(&model(), &mut ()).unwrap_err());
    let part = repository.folder().join("blobs").join(format!("{}.part", &address[1..]));
    assert_eq!(fs::metadata(&part).unwrap().len(), 100_000);
    let error = text(repository.offline().download(&model(), &mut ()).unwrap_err());
    assert!(error.contains("never fetched completely"), "{error}");

    repository.files.put(&address, Page::new(weights.clone()));
    repository.files.forget();
    let folder = repository.config().download(&model(), &mut ()).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights);
    assert_eq!(repository.files.gets(&address)[0].headers["range"], "bytes=100000-");
    assert!(!part.exists());
}

#[test]
fn complete_and_damaged_leftovers() {
    let weights = noise(10_000);
    for (left, works) in [(weights.clone(), true), (vec![7; 5000], false), (vec![7; 20_000], true)] {
        let repository = Repository::new(&[("config.json", b"{}"), ("model.safetensors", &weights)]);
        let blobs = repository.folder().join("blobs");
        let part = blobs.join(format!("{}.part", &repository.blob(&weights)[1..]));
        fs::create_dir_all(&blobs).unwrap();
        fs::write(&part, left).unwrap();
        let first = repository.config().download(&model(), &mut ());
        assert!(!part.exists());
        match works {
            true => assert_eq!(fs::read(first.unwrap().join("model.safetensors")).unwrap(), weights),
            false => assert!(text(first.unwrap_err()).contains("SHA-256")),
        }
        let folder = repository.config().download(&model(), &mut ()).unwrap();
        assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights);
    }
}

#[test]
fn without_ranges() {
    let weights = noise(100_000);
    let repository = Repository::new(&[("config.json", b"{}"), ("model.safetensors", &weights)]);
    let mut page = Page::new(weights.clone());
    (page.ranges, page.cut) = (false, Some((30_000, 1)));
    repository.files.put(&repository.blob(&weights), page);
    let folder = repository.config().download(&model(), &mut ()).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights);
}

#[test]
fn a_newer_commit() {
    let repository = Repository::new(&[("config.json", b"{}"), ("model.safetensors", b"one")]);
    let old = repository.config().download(&model(), &mut ()).unwrap();
    repository.commit("main", NEXT, &[("config.json", b"{}"), ("model.safetensors", b"second")]);
    repository.files.put(&repository.blob(b"second"), Page::status(500));
    let error = text(repository.config().download(&model(), &mut ()).unwrap_err());
    assert!(error.contains("status 500"), "{error}");
    // an update that failed leaves the old commit in place
    assert_eq!(repository.offline().download(&model(), &mut ()).unwrap(), old);
    repository.files.put(&repository.blob(b"second"), Page::new("second"));
    let new = repository.config().download(&model(), &mut ()).unwrap();
    assert_eq!(fs::read(new.join("model.safetensors")).unwrap(), b"second");
    assert_eq!(repository.offline().download(&model(), &mut ()).unwrap(), new);
}

#[test]
fn one_gguf_file() {
    let repository = Repository::new(&[("m-Q4_0.gguf", b"four"), ("m-Q8_0.gguf", b"eight")]);
    let error = text(repository.config().download(&model(), &mut ()).unwrap_err());
    assert!(error.contains("hf:org/model/FILE.gguf: m-Q4_0.gguf, m-Q8_0.gguf"), "{error}");
    let error = text(repository.config().download(&name("hf:org/model/m.gguf"), &mut ()).unwrap_err());
    assert!(error.contains("m-Q4_0.gguf, m-Q8_0.gguf"), "{error}");
    let chosen = name("hf:org/model/m-Q8_0.gguf");
    let file = repository.config().download(&chosen, &mut ()).unwrap();
    assert_eq!(file, repository.folder().join("snapshots").join(COMMIT).join("m-Q8_0.gguf"));
    assert_eq!(fs::read(&file).unwrap(), b"eight");
    assert_eq!(repository.offline().download(&chosen, &mut ()).unwrap(), file);
}

#[test]
fn branches_with_slashes() {
    let files: [(&str, &[u8]); 2] = [("config.json", b"{}"), ("model.safetensors", b"x")];
    let repository = Repository::new(&[]);
    repository.commit("refs%2Fpr%2F1", NEXT, &files);
    let folder = repository.config().download(&name("hf:org/model@refs/pr/1"), &mut ()).unwrap();
    assert!(folder.ends_with(NEXT));
    assert_eq!(repository.offline().download(&name("hf:org/model@refs/pr/1"), &mut ()).unwrap(), folder);
}

#[test]
fn refusals() {
    for (page, parts) in [
        (Page::status(404), ["not found", "check the name"]),
        (Page::status(404).header("X-Error-Code", "RevisionNotFound"), ["no such revision", "@"]),
        (Page::status(401).header("X-Error-Code", "RepoNotFound"), ["no such model", "HF_TOKEN"]),
        (Page::status(401), ["no such model", "HF_TOKEN"]),
        (Page::status(403).header("X-Error-Code", "GatedRepo"), ["on request", "accept the terms"]),
        (Page::status(403), ["no access", "HF_TOKEN"]),
        (Page::status(429), ["fewer requests", "wait"]),
        (Page::status(503), ["has a problem", "later"]),
        (Page::new("<html>"), ["description of the repository", "expected"]),
        (Page::new(r#"{"sha": "../../../x", "siblings": []}"#), ["description", "not a commit"]),
        (Page::status(302), ["redirect", "nowhere"]),
        (Page::status(302).header("Location", "file:///etc/passwd"), ["redirect", "nowhere"]),
    ] {
        let repository = Repository::new(&[]);
        repository.hub.put("/api/models/org/model/revision/main", page);
        let error = text(repository.config().download(&model(), &mut ()).unwrap_err());
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(!repository.folder().exists());
    }
    // no cache hides a refusal
    let repository = Repository::new(&[("config.json", b"{}"), ("model.safetensors", b"x")]);
    repository.config().download(&model(), &mut ()).unwrap();
    repository.hub.put("/api/models/org/model/revision/main", Page::status(401));
    text(repository.config().download(&model(), &mut ()).unwrap_err());
}

#[test]
fn hostile_tags_and_shards() {
    for tag in ["", "../../../x", "/tmp/x", "a/b", "..", "x.lock"] {
        let repository = Repository::new(&[("config.json", b"{}"), ("model.safetensors", b"x")]);
        let address = format!("/org/model/resolve/{COMMIT}/config.json");
        repository.hub.put(&address, Page::new("{}").header("ETag", format!("\"{tag}\"")));
        let error = text(repository.config().download(&model(), &mut ()).unwrap_err());
        assert!(error.contains("entity tag"), "{error}");
    }
    for shard in ["../../../x.safetensors", "absent.safetensors"] {
        let index = format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#);
        let repository =
            Repository::new(&[("config.json", b"{}"), ("model.safetensors.index.json", index.as_bytes())]);
        let error = text(repository.config().download(&model(), &mut ()).unwrap_err());
        assert!(error.contains("weight_map"), "{error}");
    }
}

#[test]
fn several_at_once() {
    let weights = noise(300_000);
    let repository = Repository::new(&[("config.json", b"{}"), ("model.safetensors", &weights)]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let folder = repository.config().download(&model(), &mut ()).unwrap();
                assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights);
            });
        }
    });
    assert_eq!(repository.files.gets(&repository.blob(&weights)).len(), 1);
}

#[test]
fn variables() {
    let home = Scratch::new();
    let set = |pairs: &[(&str, &str)]| {
        let find =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        HubConfig::from_variables(&find, Some(home.path().into())).unwrap()
    };
    let standard = set(&[]);
    assert_eq!(standard.cache, home.path().join(".cache/huggingface/hub"));
    assert_eq!((standard.token.as_deref(), standard.offline), (None, false));
    fs::create_dir_all(home.path().join(".cache/huggingface")).unwrap();
    fs::write(home.path().join(".cache/huggingface/token"), "of the file\n").unwrap();
    assert_eq!(set(&[]).token.as_deref(), Some("of the file"));
    let own = set(&[
        ("HF_HOME", "/home/of/hub"),
        ("HF_TOKEN", "own\n"),
        ("HF_ENDPOINT", "http://hub.test/"),
        ("HF_HUB_OFFLINE", "1"),
    ]);
    assert_eq!((own.cache.to_str(), own.endpoint.as_str()), (Some("/home/of/hub/hub"), "http://hub.test"));
    assert_eq!((own.token.as_deref(), own.offline), (Some("own"), true));
    assert!(!format!("{own:?}").contains("own"));
    let cache = set(&[("HF_HOME", "/home/of/hub"), ("HF_HUB_CACHE", "/cache"), ("HF_HUB_OFFLINE", "0")]);
    assert_eq!((cache.cache.to_str(), cache.offline), (Some("/cache"), false));
}
