// The authorization server asks with a person's token and the _id of a solution's client:
// did this person already let this solution see their preferences?
function findOnboardedSolutionAuthorization(doc) {
    if (doc.type === "onboardedSolutionAuthorization" && doc.revoked === false) {
        emit([doc.gpiiToken, doc.clientId], doc);
    }
}
