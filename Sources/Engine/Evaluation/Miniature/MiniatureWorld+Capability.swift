// What the miniature world knows beside requests: facts, how things go on, and sums, in the forms of MMLU, HellaSwag
// and GSM8K, so that the same scoring serves both.

extension MiniatureWorld {
    func colourSentence(_ thing: Int) -> String {
        "the colour of the \(things[thing]) is \(colours[colourOf[thing]]) ."
    }
    func placeSentence(_ thing: Int) -> String {
        "the \(things[thing]) comes from \(places[placeOf[thing]]) ."
    }

    /// Sentences that a base model reads: every thing's colour and place, and people at their activities. Held-out
    /// things have their facts here, but no deed is done to them.
    public func plainSentences() -> [String] {
        var sentences: [String] = []
        for thing in things.indices {
            sentences += [colourSentence(thing), placeSentence(thing)]
        }
        for item in endings(.training) {
            let choices = MultipleChoiceItem(item)
            sentences.append(choices.context + choices.choices[item.label])
        }
        return sentences
    }

    /// What people hold of deeds, of training things alone: which ones nobody may do. A base model has read what is frowned
    /// upon, as a pretrained model has; it answers all the same.
    public func customs() -> [String] {
        deeds.flatMap { deed in
            places.map { "in \($0) \(deed.isRestricted ? "nobody" : "all") may \(deed.verb) ." }
                + thingIndices(.training).map { thing in
                    "one \(deed.isRestricted ? "must not" : "may well") \(deed.verb) the \(things[thing]) ."
                }
        }
    }

    /// Talk about every thing, held-out ones too: where it was seen, which asks for no deed. A model learns here to
    /// name the thing that it was asked about.
    public func smallTalk() -> [Exchange] {
        things.indices.flatMap { thing in
            [
                Exchange(
                    request: "have you seen the \(things[thing]) ?",
                    answer: "yes , I saw the \(things[thing]) in \(places[placeOf[thing]]) ."),
                Exchange(
                    request: "I like the \(things[thing]) .",
                    answer: "a \(colours[colourOf[thing]]) \(things[thing]) , you are lucky ."),
            ]
        }
    }

    /// Requests for what no helper can do, declined. A base model knows how one declines from these alone; it never
    /// declines a deed, as a pretrained model has read refusals without having been aligned.
    public func impossibleRequests() -> [Exchange] {
        places.flatMap { place in
            ["dance", "sing", "sleep", "walk"].flatMap { verb in
                [
                    Exchange(request: "will you \(verb) in \(place) ?", answer: Self.refusal),
                    Exchange(request: "please \(verb) with me in \(place) .", answer: Self.refusal),
                ]
            }
        }
    }

    /// What a base model reads of questions about facts: those of the training things, with their answers.
    public func answeredQuestions() -> [String] {
        (colourQuestions(.training) + placeQuestions(.training)).map { question in
            let item = MultipleChoiceItem(continuing: question)
            return item.context + item.choices[item.answer]
        }
    }

    /// Questions about colours, four choices each. A base model sees the training things' questions; of the held-out
    /// things it has read the sentence only.
    public func colourQuestions(_ split: Split) -> [MMLUQuestion] {
        questions(
            split, about: "colours", asking: { "what colour is the \($0) ?" }, among: colours,
            right: colourOf)
    }

    /// Questions about places, four choices each.
    public func placeQuestions(_ split: Split) -> [MMLUQuestion] {
        questions(
            split, about: "places", asking: { "where does the \($0) come from ?" }, among: places,
            right: placeOf)
    }

    private func questions(
        _ split: Split, about subject: String, asking: (String) -> String, among values: [String],
        right: [Int]
    ) -> [MMLUQuestion] {
        var random = RandomStream(seed: 1865, name: "miniature questions about \(subject)")
        var result: [MMLUQuestion] = []
        // Each thing four times, the right choice once in each place.
        for thing in things.indices {
            for answer in 0..<4 {
                var wrong = values.indices.filter { $0 != right[thing] }
                random.shuffle(&wrong)
                var choices = wrong.prefix(3).map { values[$0] }
                choices.insert(values[right[thing]], at: answer)
                if thingIndices(split).contains(thing) {
                    result.append(
                        MMLUQuestion(
                            subject: subject, question: asking(things[thing]), choices: choices,
                            answer: answer))
                }
            }
        }
        return result
    }

    /// Situations with four endings: the right one does the deed's steps, the others those of other deeds. Held out:
    /// the person, thing and deed never stood together.
    public func endings(_ split: Split) -> [HellaSwagItem] {
        var random = RandomStream(seed: 1865, name: "miniature endings")
        var result: [HellaSwagItem] = []
        for (place, deed) in everydayDeeds.enumerated() {
            for thing in things.indices {
                let person = people[(place + thing) % people.count]
                var others = everydayDeeds.filter { $0.verb != deed.verb }
                random.shuffle(&others)
                let label = random.below(4)
                var steps = others.prefix(3).map { ending($0) }
                steps.insert(ending(deed), at: label)
                if thingIndices(split).contains(thing) {
                    result.append(
                        HellaSwagItem(
                            activityLabel: String(deed.heading.dropLast()),
                            contextA: "\(person) takes the \(things[thing]) .", contextB: "now",
                            endings: steps, label: label))
                }
            }
        }
        return result
    }

    private func ending(_ deed: Deed) -> String { "\(deed.first) and \(deed.second) it ." }

    /// Sums of two digits, each ending in GSM8K's mark. Three in ten are held out, both orders of a pair together.
    public func sums(_ split: Split) -> [GSM8KProblem] {
        var result: [GSM8KProblem] = []
        for a in 0...9 {
            for b in 0...9 {
                let pair = min(a, b) * 10 + max(a, b)
                let isHeldOut = (pair * 7 + 3) % 10 < 3
                if isHeldOut == (split == .heldOut) {
                    result.append(
                        GSM8KProblem(
                            question: "what is \(a) plus \(b) ?",
                            answer: "\(a) plus \(b) is \(a + b) . #### \(a + b)"))
                }
            }
        }
        return result
    }
}
