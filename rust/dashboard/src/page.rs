//! The page's files, as part of the program: no file is read, so no other file can be asked for.

/// A path, its type, its text.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) const FILES: &[File] = &[
    ("/", HTML, include_str!("../page/index.html")),
    ("/app.js", SCRIPT, include_str!("../page/app.js")),
    ("/charts.js", SCRIPT, include_str!("../page/charts.js")),
    ("/figures.js", SCRIPT, include_str!("../page/figures.js")),
    ("/format.js", SCRIPT, include_str!("../page/format.js")),
    ("/keys.js", SCRIPT, include_str!("../page/keys.js")),
    ("/panel.js", SCRIPT, include_str!("../page/panel.js")),
    ("/policies.js", SCRIPT, include_str!("../page/policies.js")),
    ("/pools.js", SCRIPT, include_str!("../page/pools.js")),
    ("/routers.js", SCRIPT, include_str!("../page/routers.js")),
    ("/services.js", SCRIPT, include_str!("../page/services.js")),
    ("/state.js", SCRIPT, include_str!("../page/state.js")),
    ("/style.css", CSS, include_str!("../page/style.css")),
    ("/tables.js", SCRIPT, include_str!("../page/tables.js")),
    ("/tree.js", SCRIPT, include_str!("../page/tree.js")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let there = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        let there: BTreeSet<String> = there.map(|name| format!("/{}", name.to_string_lossy())).collect();
        let served: BTreeSet<String> = FILES.iter().map(|(path, ..)| path.replace("//", "/")).collect();
        let served: BTreeSet<String> =
            served.into_iter().map(|path| if path == "/" { "/index.html".into() } else { path }).collect();
        assert_eq!(there, served);
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for (path, _, text) in FILES {
            let outside = text
                .match_indices("://")
                .filter(|(at, _)| !text[..*at].ends_with("http") || !text[*at..].starts_with("://www.w3.org/"));
            assert_eq!(outside.count(), 0, "{path} names an address");
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "{path}");
        }
    }
}
