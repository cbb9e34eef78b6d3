//! Where models are kept and fetched from: the environment variables of the ecosystem.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Result};

/// Where and how models are pulled. It holds a secret, hence no `Debug`.
#[derive(Clone)]
pub struct Settings {
    /// The server, `https://HOST` without a slash at the end.
    pub endpoint: String,
    /// The cache's folder, shared with other tools.
    pub cache: PathBuf,
    /// Sent to the endpoint, and to no other host.
    pub token: Option<String>,
    /// No socket is opened.
    pub offline: bool,
    /// The proxy for `http:` addresses.
    pub http_proxy: Option<String>,
    /// The proxy for `https:` addresses.
    pub https_proxy: Option<String>,
    /// Hosts that are asked without a proxy, separated by commas.
    ///
    /// `example.org` is that host and all below it; so are `.example.org` and `*.example.org`.
    /// `HOST:PORT` is that port only, `*` is every host.
    pub no_proxy: String,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub stall_timeout: Duration,
    /// Attempts after the first that a request may need; what moves a download on gives new ones.
    pub retries: u32,
    /// The wait before the first of them; it doubles with each.
    pub backoff: Duration,
    /// The longest wait of our own choice.
    pub backoff_max: Duration,
    /// The longest wait that a server may ask for.
    pub retry_after_max: Duration,
}

impl Settings {
    /// Reads the environment: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME`, `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`,
    /// and `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` in lower or upper case.
    ///
    /// # Errors
    /// [`Error::Setting`] names the variable that cannot be used.
    pub fn from_env() -> Result<Settings> {
        Settings::from_variables(|name| std::env::var(name).ok())
    }

    /// The same, with the environment given as a function. An empty value is as none.
    pub(super) fn from_variables(read: impl Fn(&str) -> Option<String>) -> Result<Settings> {
        let first = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| read(name));
            values.find(|value| !value.trim().is_empty()).map(|value| value.trim().to_owned())
        };
        let folder = |name: &str| first(&[name]).map(PathBuf::from);
        let home = first(&["HOME", "USERPROFILE"]).map(PathBuf::from);
        let hf_home = folder("HF_HOME")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| home.map(|home| home.join(".cache/huggingface")));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hf_home.as_ref().map(|home| home.join("hub")))
            .ok_or_else(|| unusable("HF_HUB_CACHE", "it is not set, and neither is HOME"))?;

        let token_file = folder("HF_TOKEN_PATH").or_else(|| hf_home.map(|h| h.join("token")));
        let token = first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
            .or_else(|| token_file.and_then(|path| read_token(&path)));
        if token.as_ref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(unusable("HF_TOKEN", "it has characters that no token has"));
        }

        let endpoint = first(&["HF_ENDPOINT"]).unwrap_or("https://huggingface.co".into());
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(unusable("HF_ENDPOINT", "it does not begin with https:// or http://"));
        }
        let offline = first(&["HF_HUB_OFFLINE"]).unwrap_or_default().to_ascii_lowercase();
        let any_proxy = first(&["all_proxy", "ALL_PROXY"]);
        Ok(Settings {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache,
            token,
            offline: ["1", "on", "yes", "true"].contains(&offline.as_str()),
            http_proxy: first(&["http_proxy", "HTTP_PROXY"]).or(any_proxy.clone()),
            https_proxy: first(&["https_proxy", "HTTPS_PROXY"]).or(any_proxy),
            no_proxy: first(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(30),
            retries: 5,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(300),
        })
    }

    /// The proxy for an address, or `None` for a direct connection.
    pub(super) fn proxy(&self, is_https: bool, host: &str, port: u16) -> Option<&str> {
        let proxy = if is_https { &self.https_proxy } else { &self.http_proxy };
        let bare = |host: &str| host.trim_matches(['[', ']']).to_ascii_lowercase();
        let host = bare(host);
        let direct = self.no_proxy.split(',').map(str::trim).any(|entry| {
            let (name, wanted_port) = match entry.rsplit_once(':') {
                Some((name, digits)) if !name.contains(':') || name.ends_with(']') => {
                    (name, digits.parse().ok())
                }
                _ => (entry, None),
            };
            let name = bare(name.trim_start_matches('*').trim_start_matches('.'));
            let below = host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.'));
            let same_host = entry == "*" || !name.is_empty() && (host == name || below);
            same_host && wanted_port.is_none_or(|wanted: u16| wanted == port)
        });
        proxy.as_deref().filter(|_| !direct)
    }
}

fn read_token(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

fn unusable(name: &str, problem: &str) -> Error {
    Error::Setting { name: name.into(), problem: problem.into() }
}
