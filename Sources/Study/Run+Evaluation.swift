// Writing down what the lab measures: rates with their judges, evaluations prompt by prompt, training, figures.

public import Engine
internal import Events

extension Run {
    /// Records a rate with what it is made of.
    public func record(
        _ name: MetricName, _ rate: Proportion, step: Int? = nil, arm: String = ""
    ) {
        record(name, count: rate.count, total: rate.total, judge: rate.judge, step: step, arm: arm)
    }

    /// Records the rate of every judge, and prompt by prompt what was answered and what each said of it.
    ///
    /// The metric is named after what was asked, and after the judge where there are several: "refused", or
    /// "refused, AdvBench list". Answers to requests out of files such as AdvBench's are marked, so that they are shown
    /// as labels and hashes unless somebody asks for them.
    public func record(
        _ evaluation: RefusalEvaluation, of name: String, arm: String = ""
    ) {
        for (place, judged) in evaluation.judged.enumerated() {
            let metric = place == 0 ? "refused \(name)" : "refused \(name), \(judged.judge)"
            record(MetricName(metric), judged.refused, arm: arm)
            record(
                items: zip(evaluation.exchanges, zip(evaluation.answers, judged.judgements)).map {
                    ($0.request, $1.0, $1.1.rawValue)
                }, evaluation: name, judge: judged.judge, arm: arm,
                restricted: evaluation.exchanges.contains(where: \.isWithheld))
        }
    }

    /// Records both accuracies of a multiple-choice evaluation.
    public func record(
        _ evaluation: MultipleChoiceEvaluation, of name: String, arm: String = ""
    ) {
        record(MetricName("\(name) acc"), evaluation.accuracy, arm: arm)
        record(MetricName("\(name) acc_norm"), evaluation.normalizedAccuracy, arm: arm)
    }

    /// Records one step of training: loss, gradient norm, the digest of its state and, in preference
    /// training, accuracy and margin.
    public func record(_ step: TrainingStep, arm: String = "") {
        record(step.stateDigest, step: step.number, arm: arm)
        record(.loss, step.loss, step: step.number, arm: arm)
        record("gradient norm", step.gradientNorm, step: step.number, arm: arm)
        if let accuracy = step.accuracy {
            record("preference accuracy", accuracy, step: step.number, arm: arm)
        }
        if let margin = step.margin {
            record("preference margin", margin, step: step.number, arm: arm)
        }
    }

    /// Puts a figure beside the cell and among the run's artifacts; the recorder draws it.
    public func show(_ chart: Chart) {
        channel.send(
            .figure(
                FigureRecord(
                    cell: cell, title: chart.title, alternativeText: chart.alternativeText,
                    script: chart.script, data: chart.data)))
    }
}

extension Run {
    /// Loads a model's folder in Hugging Face's layout; the folder is hashed and on record first.
    public func model(_ path: String, dtype: DType? = nil) throws -> LanguageModel {
        try LanguageModel(input(path, kind: "model").path, dtype: dtype)
    }

    /// Loads a tokenizer's file or folder; it is hashed and on record first.
    public func tokenizer(_ path: String) throws -> Tokenizer {
        try Tokenizer(input(path, kind: "file").path)
    }

    /// Reads a text file as UTF-8; it is hashed and on record first.
    public func text(_ path: String) throws -> String {
        String(decoding: try FileSystem.read(input(path, kind: "dataset").path), as: UTF8.self)
    }
}
