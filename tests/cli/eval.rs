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

/// Ten documents and queries that share few words, so that rankings are not perfect.
fn with_sentences() -> (Place, Vec<&'static str>) {
    let place = Place::new();
    let sentences = vec![
        "The river rose after three days of rain.",
        "A heron waits in the shallow water for fish.",
        "Ferries to the island leave twice a day in winter.",
        "The bridge was closed when the water reached the road.",
        "Fishermen mend their nets in the harbour.",
        "Snow fell on the pass and the road stayed shut.",
        "The museum shows boats that were built by hand.",
        "A train crosses the valley every hour.",
        "Rain is expected in the west until Sunday.",
        "The lighthouse keeper wrote down every ship.",
    ];
    let mut corpus = String::new();
    for (i, sentence) in sentences.iter().enumerate() {
        corpus += &format!("{{\"_id\": \"d{i}\", \"title\": \"\", \"text\": \"{sentence}\"}}\n");
    }
    place.write("ten/corpus.jsonl", corpus);
    let queries = ["when does it flood", "birds", "going over the water", "closed in bad weather"];
    let mut lines = String::new();
    for (i, query) in queries.iter().enumerate() {
        lines += &format!("{{\"_id\": \"q{i}\", \"text\": \"{query}\"}}\n");
    }
    place.write("ten/queries.jsonl", lines);
    let mut qrels = "query-id\tcorpus-id\tscore\n".to_owned();
    for (query, document) in [(0, 3), (0, 8), (1, 1), (2, 2), (2, 6), (3, 5), (3, 3)] {
        qrels += &format!("q{query}\td{document}\t1\n");
    }
    place.write("ten/qrels/test.tsv", qrels);
    (place, sentences)
}

/// The numbers that codes stand for, worked out again in f64.
fn coded(vectors: &[Vec<f32>], dims: usize, quant: &str, mean: &[f64]) -> Vec<Vec<f64>> {
    let unit = |row: &[f64]| {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter().map(|x| x / norm).collect::<Vec<f64>>()
    };
    let code = |row: Vec<f64>| match quant {
        "f32" => row,
        "int8" => {
            let largest = row.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
            unit(&row.iter().map(|x| (x / largest * 127.0).round()).collect::<Vec<_>>())
        }
        _ => row.iter().zip(mean).map(|(x, mean)| if x > mean { 1.0 } else { -1.0 }).collect(),
    };
    let wide = |row: &Vec<f32>| row[..dims].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    vectors.iter().map(|row| code(unit(&wide(row)))).collect()
}

#[test]
fn codes_are_those_of_a_twin_in_f64() {
    use gemmule::engine::eval::Beir;
    use gemmule::engine::eval::measure::Retrieval;
    let (place, sentences) = with_sentences();
    let set = Beir::read(&place.path().join("ten")).unwrap();
    let nano = gemmule::Embedder::open_in("nano", Some(gemmule::Precision::F32)).unwrap();
    let embed = |task: &str, text: &str| nano.embed_one(nano.prompt(task).unwrap(), text).unwrap();
    let documents: Vec<_> = sentences.iter().map(|text| embed("document", text)).collect();
    let queries: Vec<_> = set.judged_queries().map(|(_, text)| embed("query", text)).collect();
    let answer = place.json(&[
        "eval",
        "ten",
        "--dims",
        "384,64",
        "--quant",
        "f32,int8,binary",
        "--precision",
        "f32",
    ]);
    let rows = answer["results"].as_array().unwrap();
    let ways = [384, 64].into_iter().flat_map(|d| ["f32", "int8", "binary"].map(|q| (d, q)));
    assert_eq!(rows.len(), 6);
    let mut different = std::collections::BTreeSet::new();
    for (row, (dims, quant)) in rows.iter().zip(ways) {
        let plain = coded(&documents, dims, "f32", &[]);
        let mean: Vec<f64> =
            (0..dims).map(|i| plain.iter().map(|row| row[i]).sum::<f64>() / 10.0).collect();
        let coded_documents = coded(&documents, dims, quant, &mean);
        let rank = |query: &Vec<f64>| {
            let dot = |row: &Vec<f64>| row.iter().zip(query).map(|(a, b)| a * b).sum::<f64>();
            let scored = coded_documents.iter().enumerate();
            scored.map(|(i, row)| (format!("d{i}"), dot(row) as f32)).collect::<Vec<_>>()
        };
        let rankings = coded(&queries, dims, quant, &mean).iter().map(rank).collect::<Vec<_>>();
        let run: Vec<_> = set.judged_queries().map(|(id, _)| id.clone()).zip(rankings).collect();
        let expected = Retrieval::of(&run, &set.qrels).ndcg10;
        let found = row["ndcg10"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-9, "{row}, expected {expected}");
        assert_eq!((&row["dims"], &row["quant"]), (&dims.into(), &quant.into()));
        assert_eq!(row["precision"], "f32");
        let [low, high] = ["low", "high"].map(|bound| row[bound].as_f64().unwrap());
        assert!(low < found && found < high, "{row}");
        different.insert(found.to_bits());
    }
    // Else the set would not tell codes apart.
    assert!(different.len() >= 3, "{answer}");
}

#[test]
fn a_mean_counts_each_set_once() {
    let (place, _) = with_sentences();
    let other = with_set();
    for file in ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"] {
        let file = format!("tiny/{file}");
        place.write(&file, std::fs::read(other.path().join(&file)).unwrap());
    }
    let precisions = ["f32", "int4"];
    let answer = place.json(&["eval", "ten", "tiny", "--dims", "64", "--precision", "f32,int4"]);
    let (results, means) = (&answer["results"], &answer["means"]);
    assert_eq!((results.as_array().unwrap().len(), means.as_array().unwrap().len()), (4, 2));
    for (i, precision) in precisions.iter().enumerate() {
        let [ten, tiny] = [2 * i, 2 * i + 1].map(|idx| results[idx]["ndcg10"].as_f64().unwrap());
        let mean = means[i]["ndcg10"].as_f64().unwrap();
        assert!((mean - (ten + tiny) / 2.0).abs() < 1e-12, "{answer}");
        assert_eq!(
            (&means[i]["n_sets"], &means[i]["precision"]),
            (&2.into(), &(*precision).into())
        );
        assert!(means[i]["low"].as_f64().unwrap() <= mean, "{answer}");
    }
    let table = place.run(&["eval", "ten", "tiny", "--dims", "64"]).stdout;
    assert!(table.lines().last().unwrap().starts_with("mean of 2"), "{table}");
}

#[test]
fn two_models_are_compared_over_the_same_queries() {
    let (place, _) = with_sentences();
    place.write(
        "sts/pairs.tsv",
        "score\ts1\ts2\n5\tthe river\tthe river rose\n3\ta heron\tthe water\n2\tthe road\ta train\n\
         0\tthe heron waits\ta train crosses the valley\n",
    );
    let [mqa, gqa] = ["mqa", "gqa"]
        .map(|name| format!("{}/tests/reference/tiny/{name}", env!("CARGO_MANIFEST_DIR")));
    let eval = |model: &str, more: &[&str]| {
        let args = ["eval", "ten", "sts", "--precision", "f32", "--dims", "16,8", "--model", model];
        place.json(&[&args[..], more].concat())
    };
    let [first, second] = [eval(&mqa, &[]), eval(&gqa, &[])];
    assert!(first.get("differences").is_none());
    let both = eval(&mqa, &["--against", &gqa]);
    assert_eq!(both["results"], first["results"]);
    let differences = both["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 4);
    for (i, row) in differences.iter().enumerate() {
        let measure = row["measure"].as_str().unwrap();
        assert_eq!(measure, if i < 2 { "ndcg10" } else { "spearman" });
        let [here, there] = [&first, &second].map(|one| &one["results"][i][measure]);
        assert_eq!((&row["here"], &row["there"]), (here, there), "{row}");
        let difference = row["difference"].as_f64().unwrap();
        let expected = here.as_f64().unwrap() - there.as_f64().unwrap();
        assert!((difference - expected).abs() < 1e-12, "{row}");
        let [low, high, p] = ["low", "high", "p"].map(|name| row[name].as_f64().unwrap());
        assert!(low <= difference && difference <= high && (0.0..=1.0).contains(&p), "{row}");
    }
    // A model does not differ from itself.
    for row in eval(&mqa, &["--against", &mqa])["differences"].as_array().unwrap() {
        let zeros = ["difference", "low", "high"].map(|name| row[name].as_f64().unwrap());
        assert_eq!((zeros, row["p"].as_f64()), ([0.0; 3], Some(1.0)), "{row}");
    }
    let table = place.run(&["eval", "ten", "--dims", "16", "--model", &mqa, "--against", &gqa]);
    assert!(table.stdout.contains("difference"), "{table:?}");
    // The widths of nano are others.
    let refused = place.run(&["eval", "ten", "--against", &mqa]);
    refused.expect_error(2, &["no vectors of 384", "--dims"]);
}

/// Sentences on two subjects with their labels.
fn labelled(n_sentences: usize, seed: usize) -> String {
    let subjects = [
        ("sea", ["ship", "harbour", "sailor", "wave"], "the crew saw a"),
        ("food", ["pie", "soup", "bread", "salad"], "the cook served a"),
    ];
    let line = |i: usize| {
        let (label, nouns, start) = &subjects[i % 2];
        let [noun, other] = [i / 2 + seed, i / 8 + seed + 1].map(|pick| nouns[pick % 4]);
        format!("{{\"text\": \"{start} {noun} and a {other}\", \"label\": \"{label}\"}}\n")
    };
    (0..n_sentences).map(line).collect()
}

#[test]
fn classes_and_clusters_are_measured_and_either_file_names_a_set() {
    let place = Place::new();
    place.write("cls/topic_train.jsonl", labelled(40, 0));
    place.write("cls/topic_test.jsonl", labelled(20, 2));
    place.write("cls/topic_clustering.jsonl", labelled(60, 0));
    let answer = place.json(&["eval", "cls", "--dims", "384,64", "--quant", "f32,binary"]);
    let results = answer["results"].as_array().unwrap();
    // The clustering set and the classification set, not one for each of its files.
    assert_eq!(results.len(), 8, "{answer}");
    for (i, row) in results.iter().enumerate() {
        assert_eq!(row["set"], "topic");
        let measures = ["v_measure", "accuracy", "macro_f1"].map(|name| row[name].as_f64());
        match i < 4 {
            true => assert_eq!(measures, [Some(1.0), None, None], "{row}"),
            false => assert_eq!(measures, [None, Some(1.0), Some(1.0)], "{row}"),
        }
        assert_eq!((row["low"].as_f64(), row["high"].as_f64()), (Some(1.0), Some(1.0)));
        assert!(row["ndcg10"].is_null());
    }
    let train = place.json(&["eval", "cls/topic_train.jsonl", "--dims", "64"]);
    assert_eq!(train["results"][0]["accuracy"], 1.0, "{train}");
    place.write("cls/topic_test.jsonl", "{\"text\": \"a wave\", \"label\": \"weather\"}\n");
    place.run(&["eval", "cls"]).expect_error(1, &["topic_test.jsonl, line 1", "weather"]);
}

#[test]
fn a_database_has_codes_of_the_kinds_asked_for() {
    let place = with_set();
    let flags = ["--through", "exact,ann", "--quant", "f32,binary", "--dims", "128"];
    let answer = place.json(&[&["eval", "tiny"], &flags[..]].concat());
    let ways: Vec<_> = answer["results"].as_array().unwrap().iter().collect();
    let name = |row: &serde_json::Value| {
        ["through", "quant"].map(|key| row[key].as_str().unwrap().to_owned()).join(" ")
    };
    let names: Vec<String> = ways.iter().map(|row| name(row)).collect();
    assert_eq!(names, ["exact f32", "exact binary", "ann binary"], "{answer}");
    // Three documents are all re-scored at full width.
    assert_eq!(ways[2]["ndcg10"], ways[0]["ndcg10"], "{answer}");
    let ran = place.run(&["eval", "tiny", "--through", "text", "--quant", "int8"]);
    ran.expect_error(2, &["--quant goes with --through exact, ann and hybrid"]);
}
