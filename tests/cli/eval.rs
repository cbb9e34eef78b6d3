//! `gemmule eval`: measures that can be worked out by hand.

use super::Place;

fn with_set() -> Place {
    let place = Place::new();
    place.write(
        "tiny/corpus.jsonl",
        "{\"_id\": \"pie\", \"title\": \"Apple pie\", \"text\": \"Slice the apples and bake the pie.\"}\n\
         {\"_id\": \"lava\", \"title\": \"\", \"text\": \"Lava flows from an erupting volcano.\"}\n\
         {\"_id\": \"code\", \"title\": \"\", \"text\": \"The function sorts a list of numbers.\"}\n",
    );
    place.write(
        "tiny/queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"how to bake an apple pie\"}\n\
         {\"_id\": \"q2\", \"text\": \"a volcano erupts and lava flows\"}\n\
         {\"_id\": \"q3\", \"text\": \"nobody judged this\"}\n",
    );
    // The second query has a relevant document that the set does not hold.
    place.write(
        "tiny/qrels/test.tsv",
        "query-id\tcorpus-id\tscore\nq1\tpie\t1\nq2\tlava\t1\nq2\tlost\t1\n",
    );
    place
}

#[test]
fn a_tiny_set_has_the_measures_of_its_ranking() {
    let place = with_set();
    // First place for both; the ideal of the second has a second document at 1 / log2(3).
    let second = 1.0 / (1.0 + 1.0 / 3f64.log2());
    for (through, quant) in [("exact", "f32"), ("ann", "int8")] {
        let answer = place.json(&["eval", "tiny", "--through", through, "--dims", "384,128"]);
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), 2, "{answer}");
        for (result, dims) in results.iter().zip([384, 128]) {
            assert_eq!(result["set"], "tiny");
            assert_eq!(result["dims"], dims);
            assert_eq!((&result["quant"], &result["through"]), (&quant.into(), &through.into()));
            let near = |name: &str, expected: f64| {
                let found = result[name].as_f64().unwrap();
                assert!((found - expected).abs() < 1e-9, "{name} of {result}");
            };
            near("ndcg10", (1.0 + second) / 2.0);
            near("recall10", 0.75);
            near("recall100", 0.75);
            near("mrr10", 1.0);
            assert!(result["spearman"].is_null(), "{result}");
        }
    }
}

#[test]
fn sentence_pairs_have_a_rank_correlation_at_every_width() {
    let place = Place::new();
    place.write(
        "sts/pairs.tsv",
        "score\ts1\ts2\n\
         5\tA man plays the guitar.\tA man is playing a guitar.\n\
         3\tA dog runs on the beach.\tA dog sleeps in the house.\n\
         0\tThe stock market fell.\tShe slices a ripe tomato.\n",
    );
    let answer = place.json(&["eval", "sts"]);
    let results = answer["results"].as_array().unwrap();
    let widths: Vec<u64> = results.iter().map(|row| row["dims"].as_u64().unwrap()).collect();
    let models = place.json(&["model", "list"]);
    let known: Vec<u64> = models["models"][0]["widths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|width| width.as_u64().unwrap())
        .collect();
    assert_eq!(widths, known);
    for row in results {
        assert_eq!(row["set"], "pairs");
        assert!(row["ndcg10"].is_null(), "{row}");
    }
    let correlation = results[0]["spearman"].as_f64().unwrap();
    assert!((correlation - 1.0).abs() < 1e-9, "{answer}");
}

#[test]
fn people_get_a_table() {
    let place = with_set();
    let ran = place.run(&["eval", "tiny", "--dims", "64"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines[0].starts_with("set") && lines[0].contains("ndcg@10"), "{ran:?}");
    assert!(lines[1].starts_with("tiny") && lines[1].contains("0.7500"), "{ran:?}");
    assert!(ran.stderr.contains("1 judgement"), "{ran:?}");
}

#[test]
fn what_is_no_set_is_said_before_anything_is_measured() {
    let place = with_set();
    std::fs::create_dir(place.path().join("folder")).unwrap();
    place.run(&["eval", "tiny", "folder"]).expect_error(2, &["folder", "corpus.jsonl"]);
    place.run(&["eval", "nowhere"]).expect_error(1, &["nowhere"]);
    place.write("tiny/queries.jsonl", "{\"_id\": 5}\n");
    place.run(&["eval", "tiny"]).expect_error(1, &["queries.jsonl", "line 1"]);
}

#[test]
fn long_documents_are_cut_and_counted() {
    let place = with_set();
    let text = "apples ".repeat(2000);
    place.write(
        "tiny/corpus.jsonl",
        format!(
            "{{\"_id\": \"pie\", \"title\": \"\", \"text\": \"{text}\"}}\n\
             {{\"_id\": \"lava\", \"title\": \"\", \"text\": \"Lava flows.\"}}\n"
        ),
    );
    let answer = place.json(&["eval", "tiny", "--dims", "64"]);
    assert_eq!(answer["results"][0]["truncated"], 1, "{answer}");
}
