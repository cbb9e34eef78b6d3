//! Requests: redirects, the token, proxies, and what an answer means.
//!
//! Redirects are followed here and not by the HTTP crate, for two reasons: the token goes to the
//! endpoint's own scheme, host and port and to nothing behind another host, and what the endpoint says about a file
//! (its etag, its size) stands on the redirect, not on the storage server behind it.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, ETAG, LOCATION, RANGE, RETRY_AFTER};
use ureq::http::{HeaderMap, Request, Response, Uri};
use ureq::{Agent, Body, Proxy};

use super::published::{Wanted, is_commit, is_plain_name};
use super::retry::Failure;
use super::settings::Settings;
use crate::Error;

const HOPS_MAX: usize = 8;
/// A listing of ten thousand files is about 1 MB.
const LISTING_BYTES_MAX: u64 = 8 << 20;

/// The endpoint, asked about one repository.
pub(super) struct Client<'a> {
    agent: Agent,
    settings: &'a Settings,
    wanted: &'a Wanted,
}

/// What a repository holds at one commit.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

/// What the endpoint says of a file.
pub(super) struct Announced {
    /// The blob's name in the cache; the file's SHA-256 if it is kept in large-file storage.
    pub(super) etag: String,
    pub(super) bytes: u64,
}

impl<'a> Client<'a> {
    pub(super) fn new(settings: &'a Settings, wanted: &'a Wanted) -> Client<'a> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("gemmule/", env!("CARGO_PKG_VERSION")))
            // Compressed on the way, a file has another etag and no length.
            .accept_encoding("identity")
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_per_read(Some(settings.stall_timeout))
            .timeout_per_write(Some(settings.stall_timeout))
            .build();
        Client { agent: config.new_agent(), settings, wanted }
    }

    /// The address of the listing.
    pub(super) fn listing_url(&self) -> String {
        let Wanted { repo, revision, .. } = self.wanted;
        let revision = revision.replace('/', "%2F");
        format!("{}/api/models/{repo}/revision/{revision}", self.settings.endpoint)
    }

    /// The commit and the files of the wanted revision.
    pub(super) fn listing(&self) -> Result<Listing, Failure> {
        #[derive(Deserialize)]
        struct Reply {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let url = self.listing_url();
        let (mut response, _) = self.exchange("GET", &url, 0)?;
        let body = response.body_mut().with_config().limit(LISTING_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| failed(&url, error))?;
        let unlike = |problem: String| Failure::Final(Error::Network { url: url.clone(), problem });
        if response.status() != 200 {
            return Err(unlike(format!("status {} in place of a listing", response.status())));
        }
        let Reply { sha, siblings } = serde_json::from_slice(&body)
            .map_err(|error| unlike(format!("the answer is not a listing ({error})")))?;
        if !is_commit(&sha) {
            return Err(unlike("the answer names no commit".into()));
        }
        if self.wanted.commit().is_some_and(|commit| commit != sha) {
            return Err(unlike(format!("the answer is for commit {sha}")));
        }
        let files = siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Listing { commit: sha, files })
    }

    /// The address of a file.
    pub(super) fn url(&self, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{file}", self.settings.endpoint, self.wanted.repo)
    }

    /// The etag and size of a file.
    pub(super) fn announced(&self, url: &str) -> Result<Announced, Failure> {
        let (response, linked) = self.exchange("HEAD", url, 0)?;
        let unlike = |problem: String| Error::Network { url: url.to_owned(), problem };
        let etag = linked.or(text(response.headers(), ETAG.as_str()));
        let etag = etag.ok_or_else(|| unlike("the server names no etag".into()))?;
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
        if !is_plain_name(&etag) {
            return Err(unlike(format!("its etag {etag:?} cannot name a file")).into());
        }
        let bytes = number(response.headers(), "x-linked-size")
            .or(number(response.headers(), CONTENT_LENGTH.as_str()))
            .ok_or_else(|| unlike("the server does not say how long it is".into()))?;
        Ok(Announced { etag, bytes })
    }

    /// The body of a file from byte `start` on, or an answer of status 416.
    pub(super) fn body(&self, url: &str, start: u64) -> Result<Response<Body>, Failure> {
        self.exchange("GET", url, start).map(|(response, _)| response)
    }

    /// One request and its redirects; also the etag of the endpoint's own answer, if any.
    ///
    /// A HEAD stops at the redirect that says all about a file.
    fn exchange(
        &self,
        method: &str,
        url: &str,
        start: u64,
    ) -> Result<(Response<Body>, Option<String>), Failure> {
        let refused = |problem: &str| {
            Failure::Final(Error::Network { url: url.to_owned(), problem: problem.to_owned() })
        };
        let home = origin(url).ok_or_else(|| refused("this is not an address"))?;
        let mut at = url.to_owned();
        let mut is_home = true; // no other host has been asked yet
        let mut linked = None;
        for _ in 0..HOPS_MAX {
            let here = origin(&at).ok_or_else(|| refused("it redirects to no address"))?;
            if home.is_https && !here.is_https {
                return Err(refused("it redirects from https to http"));
            }
            is_home &= here == home;
            let response = self.send(method, &at, &here, is_home, start)?;
            let headers = response.headers();
            linked = linked.or(text(headers, "x-linked-etag"));
            let is_known = linked.is_some() && headers.contains_key("x-linked-size");
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 if !(method == "HEAD" && is_known) => {
                    let location = text(headers, LOCATION.as_str());
                    let location = location.ok_or_else(|| refused("it redirects nowhere"))?;
                    at = join(&at, &location);
                }
                200..=399 | 416 => return Ok((response, linked)),
                _ => return Err(self.refusal(&response, url, is_home)),
            }
        }
        Err(refused("it redirects in a circle"))
    }

    fn send(
        &self,
        method: &str,
        url: &str,
        origin: &Origin,
        is_home: bool,
        start: u64,
    ) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(token) = self.settings.token.as_ref().filter(|_| is_home) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let request = request.body(()).map_err(|error| failed(url, error.into()))?;
        let proxy = self.settings.proxy(origin.is_https, &origin.host, origin.port);
        let proxy = proxy.map(Proxy::new).transpose().map_err(|_| Error::Setting {
            name: if origin.is_https { "HTTPS_PROXY" } else { "HTTP_PROXY" }.into(),
            problem: "it is not the address of a proxy, such as http://HOST:PORT".into(),
        })?;
        let request = self.agent.configure_request(request).proxy(proxy).build();
        self.agent.run(request).map_err(|error| failed(url, error))
    }

    /// What a status of 400 and more means.
    fn refusal(&self, response: &Response<Body>, url: &str, is_home: bool) -> Failure {
        let repo = &self.wanted.repo;
        let status = response.status();
        let code = text(response.headers(), "x-error-code").unwrap_or_default();
        let not_published =
            |problem: &str| Error::NotPublished { what: url.to_owned(), problem: problem.into() };
        match (status.as_u16(), code.as_str()) {
            (401 | 403 | 404, "RepoNotFound") => Failure::Final(not_published(
                "there is no such repository, or it is private and HF_TOKEN does not open it",
            )),
            (401 | 403, _) if is_home => Failure::Final(Error::Gated {
                repo: repo.clone(),
                page: format!("{}/{repo}", self.settings.endpoint),
                token_sent: self.settings.token.is_some(),
                mirror: self.wanted.published.and_then(|entry| entry.mirror),
            }),
            (404, _) => {
                Failure::Final(not_published("status 404: no such repository, revision or file"))
            }
            // 403 from a storage server: a signed address that has expired; the next is fresh.
            (403 | 408 | 429 | 500 | 502..=504, _) => Failure::Passing {
                problem: format!("status {status}"),
                after: number(response.headers(), RETRY_AFTER.as_str()).map(Duration::from_secs),
            },
            _ => Failure::Final(Error::Network {
                url: url.to_owned(),
                problem: format!("status {status}"),
            }),
        }
    }
}

/// A fault of the connection, or of the request itself.
fn failed(url: &str, error: ureq::Error) -> Failure {
    let is_passing = match &error {
        // A certificate that is not trusted will not be at the next attempt either.
        ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    };
    let problem = error.to_string();
    match is_passing {
        true => Failure::Passing { problem, after: None },
        false => Failure::Final(Error::Network { url: url.to_owned(), problem }),
    }
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// Scheme, host and port of an address: what must be equal for the token to be sent.
#[derive(PartialEq)]
struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

fn origin(url: &str) -> Option<Origin> {
    let uri: Uri = url.parse().ok()?;
    let is_https = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    Some(Origin { is_https, host: uri.host()?.to_ascii_lowercase(), port })
}

/// The address that `location`, found at `base`, stands for.
fn join(base: &str, location: &str) -> String {
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if location.contains("://") && origin(location).is_some() {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else {
        let path = base.split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
        format!("{folder}/{location}")
    }
}
