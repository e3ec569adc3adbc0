// The part of the RO-Crate 1.1 and Workflow Run contexts that our crates use, by value: a crate must
// be readable, and valid, where there is no network. Every key that ROCrate.swift emits stands here.

enum ROCrateContext {
    private static let schema = [
        "CreativeWork", "Dataset", "Person", "Organization", "SoftwareApplication",
        "SoftwareSourceCode", "ComputerLanguage", "HowTo", "HowToStep", "CreateAction",
        "ControlAction", "OrganizeAction", "PropertyValue", "WebSite", "about", "name",
        "description",
        "datePublished", "license", "author", "publisher", "creator", "mainEntity", "mentions",
        "hasPart",
        "version", "identifier", "url", "affiliation", "softwareVersion", "softwareRequirements",
        "encodingFormat", "contentSize", "programmingLanguage", "codeRepository", "step",
        "additionalType",
        "workExample", "exampleOfWork", "valueRequired", "value", "propertyID", "unitCode",
        "startTime",
        "endTime", "instrument", "agent", "object", "result", "actionStatus", "error", "subjectOf",
        "position", "text", "codeSampleType", "isAccessibleForFree", "conditionsOfAccess",
    ]
    private static let workflowRun = [
        "ParameterConnection", "connection", "sourceParameter", "targetParameter", "environment",
        "resourceUsage", "sha256", "sha512",
    ]

    static let value: JSON = {
        var members: [(String, JSON)] = [
            ("File", .string("http://schema.org/MediaObject")),
            ("conformsTo", .string("http://purl.org/dc/terms/conformsTo")),
            ("ComputationalWorkflow", .string("https://bioschemas.org/ComputationalWorkflow")),
            ("FormalParameter", .string("https://bioschemas.org/FormalParameter")),
            ("input", .string("https://bioschemas.org/ComputationalWorkflow#input")),
            ("output", .string("https://bioschemas.org/ComputationalWorkflow#output")),
        ]
        members += schema.map { ($0, .string("http://schema.org/" + $0)) }
        members += workflowRun.map { ($0, .string("https://w3id.org/ro/terms/workflow-run#" + $0)) }
        return .object(members)
    }()
}
