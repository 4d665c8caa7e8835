<%@ page session="false" trimDirectiveWhitespaces="true" %><%
    // Says which release answers, and issues an id if it is asked to; no session begins or goes on.
    try (java.io.InputStream file = application.getResourceAsStream("/WEB-INF/version")) {
        response.setHeader("X-Version", new String(file.readAllBytes(), "UTF-8").trim());
    }
    String issue = request.getParameter("issue");
    String cookie = request.getParameter("cookie");
    if (issue != null) {
        response.addHeader("Set-Cookie", (cookie == null ? "JSESSIONID" : cookie) + "=" + issue + "; Path=/; HttpOnly");
    }
%>
