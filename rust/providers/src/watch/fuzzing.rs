//! Entries for the fuzzer, in builds of its own: `rust/fuzz`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::rules::Rules;
use crate::fs::tree;

const FILES: [&str; 8] = ["a", "b.txt", "src/a", "src/b.txt", "src/build/a", "src/build/c.o", "build/a", "src/.hidden"];

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("rules-{}", std::process::id()));
    for file in FILES {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), "").unwrap();
    }
    fs::create_dir_all(root.join(".git/info")).unwrap();
    root
});

/// Files of rules, parted by zeros: a watch leaves out what a walk does.
pub fn rules(data: &[u8]) {
    let mut parts = data.split(|&byte| byte == 0);
    for name in [".gitignore", ".ignore", "src/.gitignore", ".git/info/exclude"] {
        fs::write(ROOT.join(name), parts.next().unwrap_or_default()).unwrap();
    }
    let mut kept = BTreeSet::new();
    kept_below(&ROOT, &Rules::above(&ROOT), &mut kept);
    let walk = tree::builder(&ROOT, true).hidden(false).threads(1).build();
    let walked: BTreeSet<PathBuf> = walk.filter_map(Result::ok).filter(|e| e.depth() > 0).map(|e| e.path().into()).collect();
    assert_eq!(kept, walked);
}

fn kept_below(folder: &Path, above: &Rules, kept: &mut BTreeSet<PathBuf>) {
    let rules = above.within(folder);
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, is_dir) = (entry.path(), entry.file_type().unwrap().is_dir());
        if !rules.leave_out(&path, is_dir) {
            if is_dir {
                kept_below(&path, &rules, kept);
            }
            kept.insert(path);
        }
    }
}
