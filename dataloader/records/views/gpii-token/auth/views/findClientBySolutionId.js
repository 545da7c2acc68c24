// The authorization server asks with the ID of an application on a person's computer (a solution),
// to find the client under which that person decides what the application may see.
function findClientBySolutionId(doc) {
    if (doc.type === "onboardedSolutionClient") {
        emit(doc.solutionId, doc);
    }
}
