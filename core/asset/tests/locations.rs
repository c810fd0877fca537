//! Debug locations decode on demand.

mod corpus;

use std::collections::BTreeSet;

use coreai_asset::Asset;

#[test]
fn operations_of_a_model_have_ids() {
    let Some(root) = corpus::shared("models") else {
        return;
    };
    for name in [
        "smollm2-135m-int4/smollm2_135m_instruct_int4.aimodel",
        "minilm/all-MiniLM-L6-v2_int8.aimodel",
        "efficientnet-lite0/efficientnet_lite0_int8.aimodel",
    ] {
        let asset = Asset::open(&root.join(name)).unwrap();
        let main = asset.function("main").unwrap();
        let found: Vec<_> = main.body.ops.iter().filter_map(|op| asset.location(op.location)).collect();
        let ids: BTreeSet<_> = found.iter().filter_map(|at| at.op_id).collect();
        println!(
            "{name}: {} operations, {} located, {} ids, e.g. {:?}",
            main.body.ops.len(),
            found.len(),
            ids.len(),
            found.last()
        );
        assert!(found.len() * 10 > main.body.ops.len() * 9, "{name}");
        assert!(ids.len() * 10 > found.len() * 9, "{name}");
    }
}
