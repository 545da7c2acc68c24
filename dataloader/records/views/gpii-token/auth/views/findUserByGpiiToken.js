// The authorization server asks with a token, to learn whose it is.
// With include_docs=true the _id in the value brings the user's document.
function findUserByGpiiToken(doc) {
    if (doc.type === "gpiiToken") {
        emit(doc.gpiiToken, { _id: doc.userId });
    }
}
