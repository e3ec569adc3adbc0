// A Croissant 1.0 description of each dataset that a study read: name, files, hashes, and whatever the
// study says of licence and origin. Fields and records inside the files are not described.

internal import Events
internal import Provenance

enum Croissant {
    static func documents(_ run: RunFacts, plan: BundlePlan) -> [(path: String, value: JSON)] {
        var found: [(String, JSON)] = []
        // One that several cells read is described once; two of one name in two folders are two.
        var seen: Set<String> = []
        for (index, input) in run.inputs.enumerated()
        where input.kind == "dataset" || input.kind == "file" {
            let path = input.shownPath ?? input.path
            let place = BundleLayout.safe(
                "croissant/\(index + 1)-"
                    + (path.split(separator: "/").last.map(String.init) ?? "input") + ".json")
            guard seen.insert(path).inserted else { continue }
            found.append((place, document(run, input, path)))
        }
        return found
    }

    private static func document(_ run: RunFacts, _ input: RunFacts.Input, _ path: String) -> JSON {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        var members: [(String, JSON)] = [
            ("@context", context), ("@type", .string("sc:Dataset")),
            ("conformsTo", .string("http://mlcommons.org/croissant/1.0")), ("name", .string(name)),
            ("description", .string("\(path), as read by run \(run.id) of \(run.study).")),
        ]
        if let licence = input.licence { members.append(("license", .string(licence))) }
        if let url = input.url { members.append(("url", .string(url))) }
        members.append(
            (
                "distribution",
                .array(
                    input.files.map { file in
                        let inside = file.path.isEmpty ? name : file.path
                        return .object([
                            ("@type", .string("cr:FileObject")), ("@id", .string(inside)),
                            ("name", .string(inside)),
                            (
                                "contentUrl",
                                .string(
                                    input.url ?? "../"
                                        + BundleLayout.input(path, member: file.path))
                            ), ("contentSize", .string("\(file.size) B")),
                            ("encodingFormat", .string(BundlePlan.mediaType(inside, ""))),
                            ("sha256", .string(file.sha256)),
                        ])
                    })
            ))
        return .object(members)
    }

    /// The context that the Croissant 1.0 specification prescribes, by value.
    private static let context: JSON = {
        func id(_ iri: String, type: String? = nil, container: String? = nil) -> JSON {
            .object(
                [("@id", .string(iri))] + (type.map { [("@type", JSON.string($0))] } ?? [])
                    + (container.map { [("@container", JSON.string($0))] } ?? []))
        }
        return .object([
            ("@language", .string("en")), ("@vocab", .string("https://schema.org/")),
            ("citeAs", .string("cr:citeAs")), ("column", .string("cr:column")),
            ("conformsTo", .string("dct:conformsTo")),
            ("cr", .string("http://mlcommons.org/croissant/")),
            ("rai", .string("http://mlcommons.org/croissant/RAI/")),
            ("data", id("cr:data", type: "@json")),
            ("dataType", id("cr:dataType", type: "@vocab")),
            ("dct", .string("http://purl.org/dc/terms/")),
            ("examples", id("cr:examples", type: "@json")), ("extract", .string("cr:extract")),
            ("field", .string("cr:field")), ("fileProperty", .string("cr:fileProperty")),
            ("fileObject", .string("cr:fileObject")), ("fileSet", .string("cr:fileSet")),
            ("format", .string("cr:format")), ("includes", .string("cr:includes")),
            ("isLiveDataset", .string("cr:isLiveDataset")), ("jsonPath", .string("cr:jsonPath")),
            ("key", .string("cr:key")), ("md5", .string("cr:md5")),
            ("parentField", .string("cr:parentField")),
            ("path", .string("cr:path")), ("recordSet", .string("cr:recordSet")),
            ("references", .string("cr:references")), ("regex", .string("cr:regex")),
            ("repeated", .string("cr:repeated")), ("replace", .string("cr:replace")),
            ("sc", .string("https://schema.org/")), ("separator", .string("cr:separator")),
            ("source", .string("cr:source")), ("subField", .string("cr:subField")),
            ("transform", .string("cr:transform")),
        ])
    }()
}
