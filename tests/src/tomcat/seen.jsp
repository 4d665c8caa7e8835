<%@ page session="false" trimDirectiveWhitespaces="true" %><%
    long content = 0;
    byte[] buffer = new byte[4096];
    for (int count; (count = request.getInputStream().read(buffer)) >= 0; ) {
        content += count;
    }
    response.setHeader("X-Seen", request.getMethod() + " " + request.getRequestURI() + " " + content);
%>
