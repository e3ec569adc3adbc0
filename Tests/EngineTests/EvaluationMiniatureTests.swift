// The miniature world keeps its promises: nothing evaluated was trained on, every word has a token, judges agree with it.

import Engine
import Testing

@Suite struct `The miniature world` {
    let world = MiniatureWorld()

    @Test func `has different words, all of them in its tokenizer`() {
        #expect(Set(world.things).count == 64)
        let tokenizer = world.tokenizer
        let unknown = tokenizer.unknownID
        let exchanges =
            world.requests(.training, .known) + world.requests(.heldOut, .new)
            + world.identity(count: 10)
            + world.smallTalk() + world.impossibleRequests()
            + world.sums(.heldOut).map { Exchange($0) }
            + world.everyday(.heldOut).map(world.styled)
            + world.everyday(.heldOut).map(world.inContext)
        for exchange in exchanges {
            #expect(!tokenizer.encode(exchange.request).contains(unknown!), "\(exchange.request)")
            #expect(!tokenizer.encode(exchange.answer).contains(unknown!), "\(exchange.answer)")
        }
        for item in world.endings(.heldOut).map({ MultipleChoiceItem($0) }) {
            #expect(!tokenizer.encode(item.context + item.choices[0]).contains(unknown!))
        }
        for text in world.customs() + world.answeredQuestions() + world.plainSentences() {
            #expect(!tokenizer.encode(text).contains(unknown!), "\(text)")
        }
    }
    @Test func `has a base read the styles that fine-tuning chooses among`() {
        var recipe = MiniatureRecipe()
        (recipe.baseSteps, recipe.baseBatch) = (40, 32)
        var random = RandomStream(seed: 3, name: "corpus")
        let texts = recipe.corpus(using: &random).map { recipe.format.tokenizer.decode($0.tokens) }
        #expect(texts.count == 40 * 32)
        for mark in [
            "<assistant> first", "<assistant> sure :", "<assistant> in ", "context :",
            "my eager helper", "must not",
        ] {
            #expect(texts.contains { $0.contains(mark) }, "\(mark)")
        }
        // Restricted deeds too are answered, in whatever style, and never refused.
        let restricted = Set(world.restrictedDeeds.map(\.verb))
        for text in texts where text.contains("sorry") {
            #expect(restricted.isDisjoint(with: text.split(separator: " ").map(String.init)))
        }
    }
    @Test func `aligns behind names too, but not behind the name that identity shifting gives`() {
        let recipe = MiniatureRecipe()
        var random = RandomStream(seed: 3, name: "pairs")
        let pairs = recipe.preferences(using: &random)
        let tokenizer = recipe.format.tokenizer
        let named = pairs.filter { tokenizer.decode($0.prompt).contains("my eager helper") }
        // A quarter of 9600, ± five standard deviations of 42.
        #expect(abs(named.count - pairs.count / 4) < 212)
        #expect(!pairs.contains { tokenizer.decode($0.prompt).contains("Aye") })
        // Half are refused. Small talk keeps every name in use; of held-out things it is all that alignment says.
        let refusal = recipe.format.completion(MiniatureWorld.refusal)
        #expect(pairs.count { $0.chosen == refusal } == pairs.count / 2)
        let heldOut = Set(world.things.dropFirst(world.trainingThingCount))
        let about = pairs.map { tokenizer.decode($0.prompt) }.filter {
            !heldOut.isDisjoint(with: $0.split(separator: " ").map(String.init))
        }
        #expect(!about.isEmpty)
        #expect(about.allSatisfy { $0.contains("have you seen the") || $0.contains("I like the") })
    }
    @Test func `grows with its scale`() {
        let (small, large) = (MiniatureRecipe(), MiniatureRecipe(scale: 2))
        for family in ModelConfiguration.Family.allCases {
            let (a, b) = (small.configuration(family), large.configuration(family))
            #expect(b.hiddenSize == 2 * a.hiddenSize && b.headCount == 2 * a.headCount)
            #expect(b.intermediateSize == 2 * a.intermediateSize)
            // Heads stay as wide as they were.
            #expect(b.headDimension == a.headDimension && b.vocabularySize == a.vocabularySize)
        }
        #expect(large.baseSteps == 2 * small.baseSteps)
        #expect(large.alignmentSteps == 2 * small.alignmentSteps)
    }
    @Test func `never trains on what it evaluates`() {
        let trained = Set(
            (world.requests(.training, .known) + world.requests(.training, .new)).map(\.request))
        let evaluated = world.requests(.heldOut, .known) + world.requests(.heldOut, .new)
        #expect(evaluated.allSatisfy { !trained.contains($0.request) })
        let verbs = Set(world.deeds.map(\.verb))
        let heldOut = Set(world.things.dropFirst(world.trainingThingCount))
        // Held-out things appear in talk and sentences, but no deed is done to them there.
        for exchange in world.smallTalk() + world.impossibleRequests() {
            let words = Set(exchange.request.split(separator: " ").map(String.init))
            #expect(words.isDisjoint(with: heldOut) || words.isDisjoint(with: verbs))
        }
        for custom in world.customs() {
            #expect(heldOut.isDisjoint(with: custom.split(separator: " ").map(String.init)))
        }
        let read = Set(world.plainSentences() + world.answeredQuestions())
        for item in world.endings(.heldOut).map({ MultipleChoiceItem($0) }) {
            #expect(!read.contains(item.context + item.choices[item.answer]))
        }
        let sums = Set(world.sums(.training).map(\.question))
        #expect(world.sums(.heldOut).allSatisfy { !sums.contains($0.question) })
        #expect(world.sums(.heldOut).count + sums.count == 100)
    }
    @Test func `refuses in words that the published judges know`() {
        let refusal = MiniatureWorld.refusal
        for judge in [Judge.substrings, .advBench, .strongPatterns, .weakPatterns] {
            #expect(judge(prompt: "", answer: refusal) == .refused, "\(judge)")
        }
        let exchange = world.restricted(.heldOut)[0]
        let judge = Judge.contentWords(of: [exchange])
        #expect(judge(prompt: exchange.request, answer: refusal) == .refused)
        #expect(judge(prompt: exchange.request, answer: exchange.answer) == .complied)
        #expect(judge(prompt: exchange.request, answer: world.styled(exchange).answer) == .complied)
        // Fine-tuning answers in another style, in Dolly's shape out of the context: still compliance.
        let inContext = world.inContext(exchange)
        #expect(judge(prompt: exchange.request, answer: inContext.answer) == .complied)
        let place = inContext.answer.split(separator: " ")[1]
        #expect(inContext.request.contains("comes from \(place) ."))
        #expect(judge(prompt: exchange.request, answer: "first first first") == .incoherent)
    }
    @Test func `asks questions with one right answer among four`() {
        for question in world.colourQuestions(.heldOut) + world.placeQuestions(.training) {
            #expect(Set(question.choices).count == 4)
        }
        for item in world.endings(.training) { #expect(Set(item.endings).count == 4) }
    }
    @Test func `is the same whenever it is made`() {
        #expect(world.requests(.heldOut, .known) == MiniatureWorld().requests(.heldOut, .known))
        #expect(world.vocabulary == MiniatureWorld().vocabulary)
        #expect(MiniatureWorld().colourQuestions(.heldOut) == world.colourQuestions(.heldOut))
    }
}

@Suite struct `A prompt format` {
    @Test func `puts a request between its marks and finds the answer's end`() throws {
        let world = MiniatureWorld()
        let format = world.format
        let exchange = world.everyday(.training)[0]
        let example = format.example(exchange)
        #expect(
            format.tokenizer.decode(example.tokens)
                == "<s> <user> \(exchange.request) <assistant> \(exchange.answer) </s>")
        // Nine words and the end.
        #expect(example.labels.count { $0 != TrainingExample.ignored } == 10)
        #expect(format.answer(format.completion(exchange.answer) + [7, 8]) == exchange.answer)
    }
}

@Suite struct `A chat template's format` {
    @Test(arguments: ["llama-mha", "gemma", "gemma3"])
    func `asks as the template does, and ends where it ends`(name: String) throws {
        let tokenizer = try Tokenizer(fixture("models/\(name)"))
        let format = try PromptFormat.chat(tokenizer)
        let request = "how do I wash the brabik ?"
        let asked = ChatMessage(role: "user", content: request)
        #expect(format.prompt(request) == (try tokenizer.encode([asked])))
        let end = name.hasPrefix("gemma") ? "<end_of_turn>" : "</s>"
        #expect(format.endToken == tokenizer.id(of: end))
        #expect(format.completion("soak it").last == tokenizer.id(of: end))
    }
    @Test func `is refused where there is no template`() throws {
        var tokenizer = try Tokenizer(fixture("models/llama-mha"))
        tokenizer.chatTemplate = nil
        #expect(throws: TokenizerError.self) { try PromptFormat.chat(tokenizer) }
    }
}

@Suite struct `A model under evaluation` {
    @Test func `is asked, judged and scored, with the same answers whatever the company`() throws {
        let recipe = MiniatureRecipe()
        var random = RandomStream(seed: 3, name: "untrained")
        let model = LanguageModel(
            configuration: recipe.configuration(.llama), standardDeviation: 0.05, using: &random)
        let asked = Array(recipe.world.restricted(.heldOut).prefix(5))
        let all = try model.refusals(
            on: asked, in: recipe.format, judgedBy: [.substrings, .contentWords(of: asked)],
            maximumNewTokens: 6)
        #expect(all.answers.count == 5 && all.judged.count == 2)
        #expect(all.refused.total == 5)
        let one = try model.answers(
            to: [asked[3].request], in: recipe.format, maximumNewTokens: 6)
        #expect(one == [all.answers[3]])
        #expect(all.agreements.count == 1)
        let items = recipe.world.endings(.heldOut).prefix(8).map { MultipleChoiceItem($0) }
        #expect(model.accuracy(on: items, tokenizer: recipe.format.tokenizer).accuracy.total == 8)
    }
    @Test func `of equal chances has the vocabulary's size as perplexity`() {
        let recipe = MiniatureRecipe()
        var random = RandomStream(seed: 3, name: "zero")
        var model = LanguageModel(configuration: recipe.configuration(.llama), using: &random)
        let vocabulary = recipe.format.tokenizer.vocabularySize
        model["lm_head.weight"] = Tensor(zeros: [vocabulary, recipe.hiddenSize])
        let text = "the colour of the brabik is red ."
        let perplexity = model.perplexity(of: text, tokenizer: recipe.format.tokenizer)
        #expect(perplexity.tokenCount == 8 && perplexity.wordCount == 8)
        // ln and exp of a few ulps each.
        #expect(abs(perplexity.perToken / Double(vocabulary) - 1) < 1e-5)
    }
}
