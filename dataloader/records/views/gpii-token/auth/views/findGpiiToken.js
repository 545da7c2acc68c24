// The authorization server asks with the token from a card: is it one of ours?
// It looks here before it gives an access token to the computer the card was held to.
function findGpiiToken(doc) {
    if (doc.type === "gpiiToken") {
        emit(doc.gpiiToken, doc);
    }
}
